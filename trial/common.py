"What several trials need: counts, processes that die at a change of a file, small disks"
import contextlib, json, os, signal, subprocess, sys, tempfile
from pathlib import Path

# ---- counts: what was tried, to what came of it, to how often; 'wrong...' is a failure

def count(counts, what, came):
    "One more of `what` of which this came"
    of = counts.setdefault(what, {})
    of[came] = of.get(came, 0)+1

def failed(counts): return any(c.startswith('wrong') for of in counts.values() for c in of)

def end(counts):
    "Print counts and leave, with 1 if anything was wrong"
    print(json.dumps(counts, indent=1))
    sys.exit(failed(counts))

# ---- processes

changes = {'open', 'os.rename', 'os.remove', 'os.mkdir', 'os.rmdir'} # told before they happen

def at_change(folder, n, do):
    "From now on, call `do` before the `n`-th change of a file in `folder`; for a child process"
    seen = 0
    def hook(event, args):
        nonlocal seen
        if event not in changes or not str(args[0]).startswith(str(folder)): return
        if event=='open' and not args[2] & (os.O_WRONLY | os.O_RDWR): return # it only reads
        seen += 1
        if seen==n: do()
    sys.addaudithook(hook)

def in_child(f):
    "Run `f` in a forked process: 0, a number that it returned, or minus the signal that ended it"
    if not (pid := os.fork()):
        code = 99
        try: code = f() or 0
        except KeyboardInterrupt: code = 130
        except BaseException as e: print(repr(e), file=sys.stderr)
        finally: os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def kill(): os.kill(os.getpid(), signal.SIGKILL)
def interrupt(): raise KeyboardInterrupt

# ---- disks

no_mount = 'left out: this user may not mount a disk'

@contextlib.contextmanager
def small_disk(kb=256):
    "A folder on a disk of its own; None where the user may not mount one"
    with tempfile.TemporaryDirectory() as d:
        cmd = ['mount', '-t', 'tmpfs', '-o', f'size={kb}k', 'tmpfs', d]
        try: refused = subprocess.run(cmd, capture_output=True).returncode
        except FileNotFoundError: refused = True
        if refused:
            yield None
            return
        try: yield Path(d)
        finally: subprocess.run(['umount', '-l', d], check=True)

def room(folder):
    "Bytes that a user may still write there"
    s = os.statvfs(folder)
    return s.f_bavail*s.f_frsize

def fill(folder, leave):
    "Fill the disk of a folder but for `leave` bytes; returns the file that does"
    f = Path(folder)/'filling'
    f.unlink(missing_ok=True)
    with open(f, 'wb') as out: out.write(b'\1'*max(0, room(folder)-leave))
    return f

def contents(folder):
    "Name to bytes of every file below a folder"
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob('*'))
        if p.is_file()}
