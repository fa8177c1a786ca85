import copy
import numpy as np, pytest, torch
from torch import nn
from fastai.basics import (
    Callback,
    CancelBatchException,
    CancelEpochException,
    CancelFitException,
    CancelStepException,
)
from conftest import same_state
from forgetprune.decay import *
from forgetprune.blocks import FFN, ffns
from forgetprune.magnitudes import magnitudes
from forgetprune.networks import Encoder
from forgetprune.retrain import *
from forgetprune.text import *

def lm(**kw):
    return lm_learner(get_text_dls('the quick brown fox\njumps over the lazy dog\n'*40, bs=4,
        context=16, steps=20, n_valid=50, device='cpu'), d_model=16, n_layers=2, n_heads=2, d_ff=24,
        **kw)
def fit(l, *cbs):
    with l.no_bar(), l.no_logging(): l.fit(1, 3e-3, cbs=list(cbs))
    return l

@pytest.mark.parametrize('kw', [dict(), dict(power=1), dict(middle='median'), dict(log=True),
    dict(smaller=True), dict(smaller=True, log=True, power=1)])
@pytest.mark.parametrize('gated', [False, True])
def test_pull_is_the_gradient(kw, gated):
    torch.manual_seed(0)
    m = Encoder(20, n_layers=1, d_ff=16, gated=gated)
    other,cb = copy.deepcopy(m),MidpointLoss(**kw)
    f,g = ffns(m)[0],ffns(other)[0]
    ws = [l.weight for l in (g.up, g.gate, g.down) if l is not None]
    mags = sum(r.pow(2).sum(1) for r in g.rows()).sqrt()*g.columns().norm(dim=1)
    v = mags.log() if cb.log else mags
    d = v-getattr(v.detach(), cb.middle)()
    if cb.smaller: d = d.clamp(max=0)
    grads = torch.autograd.grad(d.abs().pow(cb.power).sum(), ws)
    with torch.no_grad(): cb.pull(f, 1e-4)
    for l,w,d in zip([l for l in (f.up, f.gate, f.down) if l is not None], ws, grads):
        torch.testing.assert_close(l.weight, w-1e-4*d, rtol=0, atol=2e-7)

def test_evens_and_nothing_else():
    a,b = lm(),lm()
    fit(a, MidpointLoss(0.)); fit(b)
    assert same_state(a.model.state_dict(), b.model.state_dict()) # no weight, no effect
    c = fit(lm(), MidpointLoss(30.))
    spread = lambda l: sum(float(magnitudes(f).std()/magnitudes(f).mean()) for f in ffns(l.model))
    assert spread(c) < 0.7*spread(b)
    for f in ffns(c.model): assert torch.isfinite(magnitudes(f)).all()

@pytest.mark.parametrize('opt', ['adamw', 'l2', 'sgd'])
@pytest.mark.parametrize('which', ['low', 'high', 'random', 'all'])
def test_all_else_stays_to_the_bit(opt, which):
    l = fit(lm(opt=opt, wd=0.3, gated=True))
    before = copy.deepcopy(l.model.state_dict())
    cb = RetrainSubset(which, 0.25, warm=5)
    fit(l, cb)
    for n,p in l.model.named_parameters():
        moved = p!=before[n]
        if '.ff.' not in n or n.endswith('down.bias'): assert not moved.any(), n; continue
        chosen = set(cb.chosen[n[:n.index('.ff')+3]].tolist())
        who = moved.flatten(1).any(
            1) if 'down' not in n and moved.ndim==2 else moved if moved.ndim==1 else moved.any(0)
        assert set(who.nonzero().flatten().tolist()) <= chosen and who.any()
    assert all(p.requires_grad for p in l.model.parameters())
    fit(l) # and afterwards everything moves again
    assert not torch.equal(l.model.tok.weight, before['tok.weight'])

def test_lowest_are_lowest_and_seeds_count():
    l = lm()
    m = magnitudes(ffns(l.model)[0])
    low,r0,r1,again = [RetrainSubset(*a, seed=s) for a,s in ((('low', 0.25), 0),
        (('random', 0.25), 0), (('random', 0.25), 1), (('random', 0.25), 0))]
    for cb in (low, r0, r1, again): fit(lm(), cb)
    assert set(low.chosen['blocks.0.ff'].tolist())==set(m.argsort()[:6].tolist())
    assert torch.equal(r0.chosen['blocks.0.ff'], again.chosen['blocks.0.ff'])
    assert not torch.equal(r0.chosen['blocks.0.ff'], r1.chosen['blocks.0.ff'])

def test_clear_errors():
    for kw,msg in ((dict(middle='max'), 'middle='), (dict(power=3), 'power='),
            (dict(weight=-1), 'weight=')):
        with pytest.raises(ValueError, match=msg): MidpointLoss(**kw)
    with pytest.raises(ValueError, match='select='): RetrainSubset('lowest')
    with pytest.raises(ValueError, match='frac='): RetrainSubset(frac=2)
    with pytest.raises(ValueError, match='warm='): RetrainSubset(warm=-1)

@pytest.mark.parametrize('kw', [dict(log=True), dict(power=1), dict(),
    dict(log=True, middle='median', smaller=True)])
def test_never_past_the_middle_and_the_dead_stay(kw):
    f = FFN('', nn.Linear(8, 16), nn.Linear(16, 8))
    f.up.weight.data[0] *= 1e-8; f.up.weight.data[1] = 0
    before = magnitudes(f)
    cb = MidpointLoss(**kw)
    with torch.no_grad(): mid = cb.slopes(before[before>0])[2]; cb.pull(f, 10.)
    after = magnitudes(f)
    assert after[1]==0 and after.isfinite().all()
    rest = torch.arange(16)!=1
    if kw.get('smaller'): rest &= before < mid
    assert ((after-mid)*(before-mid) >= -1e-5)[rest].all()
    assert ((after-mid).abs() <= (before-mid).abs()+1e-5)[rest].all()
    for w in (float('nan'), float('inf'), -1.):
        with pytest.raises(ValueError, match='weight='): MidpointLoss(w)

class Stop(Callback):
    order = 100
    def __init__(self, at, exc): self.at,self.exc,self.rates = at,exc,[]
    def before_fit(self): self.n = 0
    def before_batch(self):
        if self.training: self.rates.append(self.opt.hypers[-1]['lr'])
    def before_step(self):
        self.n += 1
        if self.n%self.at==0: raise self.exc

@pytest.mark.parametrize('exc', [KeyboardInterrupt(), CancelFitException(), CancelEpochException(),
    CancelBatchException(), CancelStepException()])
def test_what_stops_a_training_leaves_nothing_frozen_nor_moved(exc):
    l = lm(wd=0.1)
    fit(l)
    before,cb,stop = copy.deepcopy(l.model.state_dict()),RetrainSubset('low', 0.25, warm=30),Stop(4,
        exc)
    try:
        with l.no_bar(), l.no_logging(): l.fit(3, 1e-2, cbs=[cb, stop])
    except KeyboardInterrupt: pass
    np.testing.assert_allclose(stop.rates,
        1e-2*(np.arange(len(stop.rates))-(np.arange(len(stop.rates))//4 if isinstance(exc,
        (CancelEpochException, CancelBatchException)) else 0)+1).clip(1, 30)/30, rtol=1e-6)
    assert all(p.requires_grad for p in l.model.parameters())
    for f in ffns(l.model):
        others = [i for i in range(24) if i not in cb.chosen[f.name].tolist()]
        assert torch.equal(f.up.weight[others], before[f.name+'.up.weight'][others])
        assert torch.equal(f.down.weight[:,others], before[f.name+'.down.weight'][:,others])
    assert torch.equal(l.model.head.weight, before['head.weight'])
    with l.no_bar(), l.no_logging(): l.fit(1, 1e-2)
    assert not torch.equal(l.model.head.weight, before['head.weight'])

def test_frozen_groups_stay_frozen():
    l = lm()
    l.model.blocks[0].ff.requires_grad_(False)
    before = copy.deepcopy(l.model.blocks[0].ff.state_dict())
    fit(l, RetrainSubset('all')); fit(l, MidpointLoss(10.))
    assert all(torch.equal(v, before[k]) for k,v in l.model.blocks[0].ff.state_dict().items())
    l.model.blocks[1].ff.requires_grad_(False)
    with pytest.raises(ValueError, match='frozen'): fit(l, RetrainSubset('all'))
