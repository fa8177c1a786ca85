"Two processes under fastai's `distrib_ctx`, on the same global batches as one: the same result"
import os, socket, subprocess, sys
import pytest, torch

RUN = '''
import sys, torch
import fastai.distributed as D
from fastai.basics import *
from fastai.callback.progress import *
from torch import nn
from torch.utils.data import TensorDataset
from forgetprune.all import *
rank,world,out = int(sys.argv[1]),int(sys.argv[2]),sys.argv[3]
def on_cpu(self, t, rank): # as fastai's own, which knows graphics cards only
    t = torch.tensor(list(map(int, t)))
    torch.distributed.broadcast(t, rank)
    return t.tolist()
D.DistributedDL._broadcast = on_cpu
class Block(nn.Module):
    def __init__(self): super().__init__(); self.up,self.down = nn.Linear(12, 40),nn.Linear(40, 12)
    def forward(self, x): return x+self.down(self.up(x).relu())
def run(init):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 12), Block(), Block(), nn.Linear(12, 3))
    x = torch.randn(256, 20); y = (x[:,:3].sum(1)>0).long()+(x[:,3]>1).long()
    if world==1: # the global batches of two processes, each of which reads its half in order
        order = torch.arange(256).view(2, 16, 8).transpose(0, 1).flatten()
        x,y = x[order],y[order]
    bs = 16 if world==1 else 8
    dl = DataLoader(TensorDataset(x, y), bs=bs, shuffle=False, num_workers=0, device='cpu')
    cut = neuron_cut(model, {'2': torch.arange(10)})
    cbs = dict(recycle=Recycle(4, 0.1, 'low', init, immunity=2, seed=3, blocks=['1']),
        keep=KeepCut(cut), magnitudes=MagnitudeRecorder(5))
    learn = Learner(DataLoaders(dl, dl, device='cpu'), model, loss_func=nn.CrossEntropyLoss(),
        opt_func=Adam, cbs=[*cbs.values()], path=out)
    if world==1:
        with learn.no_bar(), learn.no_logging(): learn.fit(2, 3e-3)
    else:
        with learn.distrib_ctx(sync_bn=False, cpu=True): learn.fit(2, 3e-3)
    r = cbs['recycle']
    zero = all(bool((w.detach().take(cut.indices[n])==0).all())
        for n,w in cut.weights(model).items())
    torch.save(dict(model=model.state_dict(), neurons=[e['neurons'] for e in r.events],
        counts=r.counts, mags={n: torch.stack(v) for n,v in cbs['magnitudes'].kept.items()},
        zero=zero), f'{out}/{init}-{world}-{rank}.pt')
for init in sys.argv[4:]: run(init)
'''

inits = 'initial', 'current', 'copy'

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "A folder with what three processes found: one by itself, and two together"
    pytest.importorskip('accelerate')
    out = tmp_path_factory.mktemp('distributed')
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    one = {**os.environ, 'OMP_NUM_THREADS': '1'}
    env = {**one, 'WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port),
        'ACCELERATE_USE_CPU': '1'}
    jobs = [(one, 0, 1)]+[({**env, 'RANK': str(r), 'LOCAL_RANK': str(r)}, r, 2) for r in (0, 1)]
    ps = [subprocess.Popen([sys.executable, '-c', RUN, str(r), str(w), str(out), *inits], env=e,
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for e,r,w in jobs]
    errs = [p.communicate(timeout=240)[1] for p in ps]
    assert all(p.returncode==0 for p in ps), '\n'.join(e[-2000:] for e in errs)
    return out

@pytest.mark.slow
@pytest.mark.parametrize('init', inits)
def test_as_with_one_process(init, trained):
    files = [trained/f'{init}-{f}.pt' for f in ('1-0', '2-0', '2-1')]
    single,a,b = [torch.load(f, weights_only=True) for f in files]
    assert all(torch.equal(a['model'][n], b['model'][n]) for n in a['model']) # the two, to the bit
    assert len(a['neurons']) >= 7
    assert all(torch.equal(x, y) for x, y in zip(a['neurons'], single['neurons']))
    assert len(a['neurons'])==len(single['neurons'])
    assert {n: c.tolist() for n,c in a['counts'].items()}=={n: c.tolist() for n,
        c in single['counts'].items()}
    assert a['zero'] and b['zero'] and single['zero']
    # sums in another order
    for n,w in single['model'].items():
        assert torch.allclose(w, a['model'][n], rtol=1e-3, atol=1e-4), n
    assert a['mags'].keys()==single['mags'].keys() and a['mags'] and all(torch.allclose(v,
        a['mags'][n], rtol=1e-3, atol=1e-4) for n,v in single['mags'].items())
