"""The live edge: photos that arrive in a bucket one by one are cleaned, resized and deblurred as they come.

Read `process` (an object in, its results out) first, then `messages` (what S3 says about it) and `handling` (one
message, with its lines of log). Two run them: `aws_lambda`, and `command` (`python -m deblurgan events`) with
`supervisor` and `worker`. `settings` says with which parameters, code and model.
"""
