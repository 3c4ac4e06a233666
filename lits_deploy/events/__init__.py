"""What happens while a long command runs: events, and who writes them down.

emit       the seam: any module says that something happened, as a record of Python's `logging`
lines      an event as one line, text or JSON
log_file   a file of such lines, which may be rotated
metrics    a file in Prometheus's text format, from the same events
progress   how far a command is, as its progress bar has it
session    one command: start, heartbeat, end; who of the others listens
wording    an error without its values

Without a session, as in a program that calls the library, events are ordinary records of the logger `lits_deploy`, of
levels below WARNING. An event holds texts of our source code, numbers, and names that a bundle gives; nothing that came
from outside, so no path and no identifier. Imports nothing of the pipeline.
"""
