"""What is done on the seats: set passwords, start Jupyter, report. Of stacks/ it knows the hand-over alone.

`namespace` is what `fab` finds through fabfile.py. Keep this file's imports few: `fab --list` pays for each.
"""

from invoke import Collection

from provisioning import tasks

namespace = Collection.from_module(tasks)
