"""A full disk: networks, cuts and texts on a mount that is too small, where the user may mount one

    python -m trial.disk --n 20

Writes networks of growing size to a tmpfs of 256 kB that holds one whole network already. What does
not fit must be refused as an OSError with number, sentence and path; nothing may be left of it, and
the file that was there must be what it was. Prints counts as JSON; exits with 1 on a failure.
"""
import argparse, contextlib, errno, json, subprocess, sys, tempfile, traceback
from pathlib import Path
import torch
from forgetprune import data
from forgetprune.cut import Cut
from forgetprune.networks import mlp, save_model

@contextlib.contextmanager
def small_disk(kb=256):
    "A folder on a disk of its own; None where the user may not mount one"
    with tempfile.TemporaryDirectory() as d:
        cmd = ['mount', '-t', 'tmpfs', '-o', f'size={kb}k', 'tmpfs', d]
        if subprocess.run(cmd, capture_output=True).returncode:
            yield None
            return
        try: yield Path(d)
        finally: subprocess.run(['umount', '-l', d], check=True)

def on_a_network(f, n):
    sizes = (16, n, 16, 3)
    save_model(mlp(sizes), f, arch=dict(name='mlp', sizes=sizes))

def on_a_cut(f, n):
    m = mlp((16, n, 16, 3))
    Cut.take(m, {'1': torch.arange(16*n)}).save(f)

def on_a_text(f, n):
    "The download is too large for the disk"
    with data.download_folder(f.parent) as tmp: (tmp/'x').write_text('x'*400_000)

def tried(make, f, n):
    "What came of one write: 'written', 'refused', or what is wrong"
    before = {p.name: p.read_bytes() for p in f.parent.iterdir()}
    try: make(f, n)
    except OSError as e:
        if e.errno!=errno.ENOSPC or not e.filename: return f'said {e!r}'
        after = {p.name: p.read_bytes() for p in f.parent.iterdir()}
        return 'refused' if after==before else f'left {sorted(set(after)^set(before))}'
    except Exception:
        traceback.print_exc()
        return 'crashed'
    return 'written'

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=20, help='writes of each kind')
    a,counts = p.parse_args(),{}
    for make in (on_a_network, on_a_cut, on_a_text):
        with small_disk() as d:
            if d is None:
                print(json.dumps(dict(skipped='this user may not mount a disk')))
                return False
            for i in range(a.n):
                res = tried(make, d/'f', 40+100*i)
                name = f'{make.__name__[5:]}: {res}'
                counts[name] = counts.get(name, 0)+1
    print(json.dumps(counts, indent=1))
    return any(not n.endswith(('written', 'refused')) for n in counts)

if __name__=='__main__': sys.exit(main())
