"""A generator for other runtimes: ONNX and LiteRT files, which need no TensorFlow.

Read `metadata` first (what a file says about itself), then `onnx_file` and `litert_file`. `checking` compares exported
models with Keras, `command` is `python -m deblurgan export`. What runs an ONNX file is `restoration.exported`.
"""
