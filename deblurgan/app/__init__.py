"""The page in the browser: photos deblurred as the command does it, and trainings compared.

A photo goes `page` → `batch` → `process` → `worker`, which is a process of its own and runs the command's functions: a
file that crashes a decoder, or takes all memory, ends the worker and not the page. `folders` keeps what is uploaded and
made, `guards` is what requests must pass, `server` puts all of it together, `command` reads the command line.
`trainings` reads committed scores, curves and panels, and `trainings_tab` shows them.
"""
