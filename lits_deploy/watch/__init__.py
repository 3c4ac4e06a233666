"""An inbox: studies that arrive one after the other are classified once they are complete, into one output folder.

inbox      which entries of a folder are complete: nothing in them changed for a while
changes    how changes are noticed: the system's notices, or looking again and again
systemd    whoever started the watch is told that it is ready and alive
service    `watch_folder`: the loop around `pipeline.run.run_folder`
"""
