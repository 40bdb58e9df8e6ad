"""Photos that arrived in a bucket become data of the pipeline, and deblurred photos go to one.

`tables` says which objects of a bucket are data of the pipeline, `mirror` brings them to this machine and shows them
to the stages as a folder, `registration` looks for new ones, `publishing` is the way out. `command` is
`python -m deblurgan dumps`.
"""
