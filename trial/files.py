"""Cuts, networks, texts, checkpoints and data of which bytes were changed are refused

    python -m trial.files --n 300

Files of each kind are changed at random, by one thing each: a bit, a byte, a run of bytes, a piece
that is left out, doubled or turned round, an end that is cut off. Reading must raise the library's
own error, or hand out what was written; of a text's checksum, the name behind it says nothing.
Prints counts as JSON; exits with 1 if a changed file was believed, or if another exception came
out.
"""
import argparse, random, tempfile, traceback
from pathlib import Path
import torch
from fastai.basics import DataLoaders
from torch.utils.data import TensorDataset
from forgetprune import data
from forgetprune.cut import Cut
from forgetprune.data import DataError, TensorDL
from forgetprune.networks import load_model, mlp, save_model
from forgetprune.resume import load_checkpoint, save_checkpoint
from forgetprune.text import get_text
from forgetprune.training import get_learner, model_file, train
from trial.common import count, end

def changed(b, r):
    "`b` with one thing changed, or now and then with the same in its place, and what it was"
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

def an_edition(folder):
    "Another edition of the Bible, noted when it was first read: its file, and how it is read"
    f = folder/'text'/'kjv.txt'
    f.parent.mkdir()
    signs = {0: 'In the beginning God created the heavens.', 26558: 'Jesus wept.',
             31101: 'The grace of our Lord Jesus Christ be with you all. Amen.'}
    text = ''.join(signs.get(i, f'And it came to pass {"that "*22}{i}.')+'\n'
                   for i in range(31102))
    f.write_text(text)
    get_text('kjv', folder)
    return f, lambda: get_text('kjv', folder)==text

def a_text(folder): return *an_edition(folder), DataError

def a_note(folder):
    "The checksum of a text"
    f,read = an_edition(folder)
    return f.with_name('kjv.txt.sha256'), read, DataError

def a_checkpoint(folder):
    "Of a training: weights, numbers and words"
    torch.manual_seed(0)
    f,state = folder/'checkpoint-00000001.pt',dict(model=mlp((8, 30, 3)).state_dict(), steps=1)
    save_checkpoint(f, state)
    def read():
        s = load_checkpoint(f)
        return s['steps']==1 and same(s['model'], state['model'])
    return f, read, ValueError

def of_a_data_set(folder):
    "One of the files of a data set, whose checksum is known"
    f,b = folder/data.idx_files[0],random.Random(0).randbytes(20_000)
    f.write_bytes(b)
    sums = {f.name: data.md5(f)}
    return f, lambda: data.missing_files(folder, sums)==[] and f.read_bytes()==b, DataError

kinds = {'cuts': a_cut, 'networks': a_network, 'kept networks': a_kept_network, 'texts': a_text,
    "a text's checksum": a_note, 'checkpoints': a_checkpoint, 'data': of_a_data_set}

def trial(counts, name, n, seed):
    "What came of `n` changed files of one kind"
    r,make = random.Random(seed),kinds[name]
    with tempfile.TemporaryDirectory() as d:
        f,read,refused = make(Path(d))
        whole = f.read_bytes()
        assert read(), 'a whole file is not read'
        for _ in range(n):
            b,how = changed(whole, r)
            f.write_bytes(b)
            try: came = 'says the same' if b==whole or read() else f'wrong: believed ({how})'
            except refused: came = 'refused'
            except Exception:
                came = 'wrong: crashed'
                traceback.print_exc()
            count(counts, name, came)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=300, help='changed files of each kind')
    p.add_argument('--seed', type=int, default=0)
    a,counts = p.parse_args(),{}
    for name in kinds: trial(counts, name, a.n, a.seed)
    end(counts)

if __name__=='__main__': main()
