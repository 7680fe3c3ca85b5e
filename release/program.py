"""The entry of the archive's two programs, which share all their files.

PyInstaller's bootloader points LD_LIBRARY_PATH at the archive's folder and leaves variables of its
own. Nothing that podtrace starts may inherit them: the distribution's Python would load the
archive's libraries, and a traced command would run with a changed environment.
"""

import os
import sys

searched = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
if searched is not None:
    os.environ["LD_LIBRARY_PATH"] = searched
else:
    os.environ.pop("LD_LIBRARY_PATH", None)
for name in [name for name in os.environ if name.startswith("_PYI_")]:
    del os.environ[name]

if os.path.basename(sys.executable).startswith("kubectl_complete"):
    from podtrace.completion import main
else:
    from podtrace.cli import main

try:
    sys.exit(main())
except KeyboardInterrupt:
    # Ctrl-C before the program had begun: there is nothing to clear up, and nothing to say.
    sys.exit(130)
