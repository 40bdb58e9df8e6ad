"""The stage `train` on Amazon SageMaker: outside of what determines its result.

This machine: `launch` first, then `settings` (deploy/sagemaker.yaml), `bundle` (what the job gets), `job` (submitting,
finding and stopping it), `watching` (what is shown while it runs) and `results` (what comes back). The job's machine:
`container` and `reporting`. Both name the training by `naming`.
"""
