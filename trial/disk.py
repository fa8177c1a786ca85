"""What does not fit on a full disk is refused with its path, and what was there stays

    python -m trial.disk --n 20

Networks, cuts, checkpoints and downloads of growing size are written to a disk of 256 kB that holds
one already. What does not fit must be refused as an error of the disk with number, sentence and
path; nothing may be left of it, and the file that was there must be what it was. Needs the right to
mount a disk. Prints counts as JSON; exits with 1 on a failure.
"""
import argparse, errno, traceback
import torch
from forgetprune.basics import part_folder
from forgetprune.cut import Cut
from forgetprune.networks import mlp, save_model
from forgetprune.resume import save_checkpoint
from trial.common import contents, count, end, no_mount, small_disk

def on_a_network(f, n):
    sizes = (16, n, 16, 3)
    save_model(mlp(sizes), f, arch=dict(name='mlp', sizes=sizes))

def on_a_cut(f, n):
    m = mlp((16, n, 16, 3))
    Cut.take(m, {'1': torch.arange(16*n)}).save(f)

def on_a_checkpoint(f, n): save_checkpoint(f, dict(mlp((16, n, 16, 3)).state_dict()))

def on_a_download(f, n):
    "Written aside, and then moved"
    with part_folder(f) as tmp:
        (tmp/'x').write_bytes(b'x'*200*n)
        (tmp/'x').replace(f)

kinds = {'networks': on_a_network, 'cuts': on_a_cut, 'checkpoints': on_a_checkpoint,
    'downloads': on_a_download}

def tried(make, f, n):
    "What came of one write"
    before = contents(f.parent)
    try: make(f, n)
    except OSError as e:
        if e.errno!=errno.ENOSPC or e.filename!=str(f): return f'wrong: said {e!r}'
        after = contents(f.parent)
        wrong = sorted(n for n in {**before, **after} if before.get(n)!=after.get(n))
        return f'wrong: left {wrong}' if wrong else 'refused'
    except Exception:
        traceback.print_exc()
        return 'wrong: crashed'
    return 'written'

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=20, help='writes of each kind')
    a,counts = p.parse_args(),{}
    for name,make in kinds.items():
        with small_disk() as d:
            if d is None: end({name: {no_mount: a.n}})
            for i in range(a.n): count(counts, name, tried(make, d/'f', 40+100*i))
    end(counts)

if __name__=='__main__': main()
