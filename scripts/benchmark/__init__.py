"""What scripts/bench is made of, from the ground up.

processes   starting, watching and ending processes; CPU and memory from /proc
tools       finding the programs that are compared, or installing them into the target directory
servers     the server programs behind every peer: the same one behind all peers of a group
peers       the ways to put such a server on several cores, each as the processes that it takes
loads       wrk and our own load generator, and what the machine did meanwhile
question    what a question is made of
through     the questions of `forkfront proxy`
questions   all that is asked: who is compared, under what load, which figures answer it
measure     rounds: everybody in turn, as often as asked, within the time there is
report      medians, spread, the table, the JSON
plot        the picture
machine     what the figures were measured on
words       the command line and its help
"""
