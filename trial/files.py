"""Mutated files: cuts, networks, kept networks and texts of which bytes were changed are refused

    python -m trial.files --n 300

Each of `n` files of each kind is changed at random: a bit, a byte, a run of bytes, a piece that is
left out or doubled, an end that is cut off. Reading must raise the library's own error, or hand out
what was written. Prints counts as JSON; exits with 1 if a changed file was believed, or if another
exception came out.
"""
import argparse, json, random, sys, tempfile, traceback
from pathlib import Path
import torch
from fastai.basics import DataLoaders
from torch.utils.data import TensorDataset
from forgetprune.cut import Cut
from forgetprune.data import DataError, TensorDL
from forgetprune.networks import load_model, mlp, save_model
from forgetprune.text import get_text
from forgetprune.training import get_learner, model_file, train

def changed(b, r):
    "`b` with one thing changed, and what it was"
    at,n = r.randrange(len(b)),r.choice([1, 8, 400, 4096])
    how = r.choice(['bit', 'byte', 'run', 'out', 'double', 'end', 'swap'])
    b = bytearray(b)
    if how=='bit': b[at] ^= 1 << r.randrange(8)
    if how=='byte': b[at] = r.randrange(256)
    if how=='run': b[at:at+n] = bytes([r.randrange(256)])*len(b[at:at+n])
    if how=='out': del b[at:at+n]
    if how=='double': b[at:at] = b[at:at+n]
    if how=='end': del b[at:]
    if how=='swap': b[at:at+n] = reversed(b[at:at+n])
    return bytes(b), how

def same(a, b): return list(a)==list(b) and all(
    torch.equal(a[k].view(torch.uint8), b[k].view(torch.uint8)) for k in a)

def a_cut(folder):
    torch.manual_seed(0)
    m,f = mlp((8, 30, 20, 3)),folder/'cut'
    cut = Cut.take(m, {'1': list(range(0, 240, 7)), '3': list(range(0, 600, 11))}, target=7)
    cut.save(f)
    def read():
        c = Cut.load(f)
        return c.meta==cut.meta and same(c.values, cut.values) and same(c.indices, cut.indices)
    return f, read, ValueError

def a_network(folder):
    torch.manual_seed(0)
    m,f = mlp((8, 30, 20, 3)),folder/'network'
    arch = dict(name='mlp', sizes=[8, 30, 20, 3])
    save_model(m, f, arch=arch, seed=0)
    def read():
        net,about = load_model(f)
        return about==dict(arch=arch, seed=0) and same(net.state_dict(), m.state_dict())
    return f, read, ValueError

def a_kept_network(folder):
    g = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.rand(64, 8, generator=g), torch.arange(64)%3)
    dls = DataLoaders(TensorDL(data, bs=16, shuffle=True, drop_last=True), TensorDL(data),
                      path=folder, device='cpu')
    dls.c,dls.name = 3,'made up'
    recipe = dict(opt='sgd', lr=0.1, epochs=1, one_cycle=False)
    def made(): return get_learner(dls, dict(name='mlp', sizes=(8, 30, 20, 3)), recipe)
    learn = made()
    with learn.no_bar(), learn.no_logging(): train(learn)
    def read(): return same(train(made()).model.state_dict(), learn.model.state_dict())
    return model_file(learn), read, ValueError

def a_text(folder):
    "Another edition of the Bible, noted when it was first read"
    f = folder/'text'/'kjv.txt'
    f.parent.mkdir()
    signs = {0: 'In the beginning God created the heavens.', 26558: 'Jesus wept.',
             31101: 'The grace of our Lord Jesus Christ be with you all. Amen.'}
    text = ''.join(signs.get(i, f'And it came to pass {"that "*22}{i}.')+'\n'
                   for i in range(31102))
    f.write_text(text)
    get_text('kjv', folder)
    return f, lambda: get_text('kjv', folder)==text, DataError

kinds = dict(cut=a_cut, network=a_network, kept=a_kept_network, text=a_text)

def trial(make, n, seed):
    "Counts of what came of `n` changed files of one kind"
    r,res = random.Random(seed),dict(files=0, refused=0, unchanged=0, believed=0, crashed=0)
    with tempfile.TemporaryDirectory() as d:
        f,read,refused = make(Path(d))
        whole = f.read_bytes()
        assert read(), 'a whole file is not read'
        for _ in range(n):
            b,how = changed(whole, r)
            f.write_bytes(b)
            res['files'] += 1
            try: res['unchanged' if b==whole or read() else 'believed'] += 1
            except refused: res['refused'] += 1
            except Exception:
                res['crashed'] += 1
                traceback.print_exc()
    return res

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=300, help='changed files of each kind')
    p.add_argument('--seed', type=int, default=0)
    a = p.parse_args()
    counts = {name: trial(make, a.n, a.seed) for name,make in kinds.items()}
    print(json.dumps(counts, indent=1))
    return any(c['believed'] or c['crashed'] for c in counts.values())

if __name__=='__main__': sys.exit(main())
