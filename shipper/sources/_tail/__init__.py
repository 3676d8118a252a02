"""The tail engine: reads growing files by lines, with positions that outlive rotation and restart.

`taildir` and the `tail` commands of `exec` are two ways to say which files; what happens then is here::

    group.py      which names belong together          identity.py   which file is the same file
    watch.py      what may have changed                inotify.py    the kernel's word about it
    files.py      all files: found, renamed, gone      watched.py    one file: where we are in it
    lines.py      the block, and the lines in it       copies.py     what copytruncate leaves
    tail.py       whose turn it is; the five verbs     rescue.py     what only we hold open
    memory.py     what a restart finds, who is right   positions.py  our own places on disk
    command.py    a `tail` command, understood         flume_positions.py  Flume's places on disk
    java_regex.py, java_lines.py                       what Java means by a pattern and by a line
"""
