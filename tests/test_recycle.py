"Recycle: what is chosen, what is written, what is left alone"
import copy, math, os, subprocess, sys, warnings
from functools import partial
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from torch import nn
from fastai.basics import (
    Adam,
    Callback,
    Lamb,
    Learner,
    Lookahead,
    OptimWrapper,
    QHAdam,
    RAdam,
    RMSProp,
    SGD,
)
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.schedule import *
from fastai.callback.training import GradientAccumulation, GradientClip
from conftest import Cpu16, same_state
from forgetprune.data import get_dls
from forgetprune.cut import Cut, KeepCut
from forgetprune.blocks import FFN, ffns
from forgetprune.pruning import GradualPruning
from forgetprune.magnitudes import magnitudes
from forgetprune.neurons import neuron_cut
from forgetprune.draws import *
from forgetprune.draws import Interpolation, initial, second_moments, to_mix, to_new
from forgetprune.recycle import *
from forgetprune.selectors import *
from forgetprune.text import *

words = 'the quick brown fox\njumps over the lazy dog\n'*40
def lm(steps=41, opt_func=None, **kw):
    l = lm_learner(get_text_dls(words, bs=4, context=16, steps=steps, n_valid=50, device='cpu'),
        **{**dict(d_model=16, n_layers=2, n_heads=2, d_ff=24), **kw})
    if opt_func: l.opt_func = opt_func
    return l
def fit(l, *cbs):
    with l.no_bar(), l.no_logging(): warm_fit(l, cbs=list(cbs))
    return l

class Around(Callback):
    "Network and optimiser state right before and after each round"
    order,run_valid = 98,False
    def __init__(self, cb): self.cb,self.pairs = cb,[]
    def before_fit(self):
        real = self.cb._round
        def spied():
            before = copy.deepcopy(self.learn.model.state_dict())
            real()
            self.pairs.append((before, copy.deepcopy(self.learn.model.state_dict())))
        self.cb._round = spied

def test_a_draw_that_draws_nothing_is_named():
    for bad in (lambda *_: None, lambda *_: [('up', torch.tensor([1]))]):
        with pytest.raises(ValueError, match='draw: it must return a list of'):
            fit(lm(), Recycle(10, 0.25, draw=bad))

@pytest.mark.parametrize('draw', list(draws))
@pytest.mark.parametrize('kw', [dict(), dict(gated=True, act='silu'), dict(ff_bias=False)])
@pytest.mark.parametrize('select', ['low', 'random', 'rarest', 'utility'])
def test_untouched_neurons_keep_their_bits(draw, kw, select):
    cb = Recycle(10, 0.25, select, draw)
    look = Around(cb)
    l = fit(lm(**kw), cb, look)
    assert len(look.pairs)==4 and len(cb.events)==8
    blocks = {f.name: f for f in ffns(l.model)}
    for r,(a,b) in enumerate(look.pairs):
        changed = {n for n in a if not torch.equal(a[n], b[n])}
        assert all('.ff.' in n for n in changed) and changed
        for e in cb.events[2*r:2*r+2]:
            assert len(e['neurons'])==6==len(set(e['neurons'].tolist()))
            names = {id(p): n for n,p in l.model.named_parameters()}
            for role,(p,dim) in blocks[e['block']].parts().items():
                x,y = a[names[id(p)]],b[names[id(p)]]
                moved = (x!=y).any(1-dim) if x.ndim > 1 else x!=y
                others = set(moved.nonzero().flatten().tolist())-set(e['neurons'].tolist())
                # six strong ones share what they wrote with six copies
                if draw=='split' and role=='down':
                    assert len(others)==6
                    new = y[:,e['neurons']]
                    for i in others:
                        rest = (new+y[:,[i]]-x[:,[i]]).abs().amax(0)
                        assert rest.min() < 1e-6 and not torch.allclose(y[:,i], x[:,i]/2, atol=1e-6)
                else: assert not others

@settings(max_examples=25, deadline=None)
@given(st.integers(0, 5), st.integers(1, 12), st.sampled_from([0.1, 0.25, 0.5, 1.]))
def test_immunity_bounds_how_often(immunity, rounds, frac):
    f = FFN('', *[nn.Linear(3, 12), nn.Linear(12, 3)])
    cb = Recycle(1, frac, immunity=immunity, draw='zero') # all the weakest again and again
    cb._begin([f])
    cb.learn = type('L', (), dict(cbs=[], opt=torch.optim.SGD([f.up.weight], lr=0.1)))()
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter('always')
        for _ in range(rounds): cb._round()
    assert cb.counts[''].max() <= math.ceil(rounds/(immunity+1))
    short = [e for e in cb.events if len(e['neurons']) < e['asked']]
    assert (len(w)==1)==bool(short)
    if frac*(immunity+1) <= 1: assert not short
    for e in cb.events: # whoever comes up was not chosen in the last rounds
        for o in cb.events:
            if 0 < e['round']-o['round'] <= immunity:
                assert not set(e['neurons'].tolist()) & set(o['neurons'].tolist())

# ---- interpolation

def _alone(draw, smooth, lr=0., every=5, steps=12, **kw):
    "A training in which nothing moves but by recycling (lr 0), with the weights after every step"
    l,cb,seen = lm(steps=steps, opt='sgd', lr=lr),Recycle(every, 0.25, draw=draw, smooth=smooth,
        **kw),[]
    class See(Callback):
        order = 99
        def after_step(self): seen.append(copy.deepcopy(self.learn.model.state_dict()))
        def after_batch(self):
            # evaluation never moves it
            if not self.training: assert same_state(self.learn.model.state_dict(), seen[-1])
    with l.no_bar(), l.no_logging(): l.fit(1, lr, cbs=[cb, See()])
    return l,cb,seen

def test_linear_from_old_to_new():
    _,sudden,_ = a = _alone('initial', 0, end=5)
    _,cb,seen = _alone('initial', 4, end=5)
    old,new,n = seen[3],a[2][-1],'blocks.0.ff.up.weight'
    i = cb.events[0]['neurons']
    assert torch.equal(i, sudden.events[0]['neurons'])
    for s,t in zip(range(4, 12), (0.25, 0.5, 0.75, 1, 1, 1, 1, 1)):
        torch.testing.assert_close(seen[s][n][i], (1-t)*old[n][i]+t*new[n][i])
    assert torch.equal(seen[-1][n][i], new[n][i]) and not cb.moving

def test_chosen_again_before_it_is_done():
    _,cb,seen = _alone('initial', 8, every=5, steps=15,
        select=lambda f: torch.arange(len(f)).float())
    n,i = 'blocks.0.ff.up.weight',torch.arange(6)
    assert torch.equal(cb.events[0]['neurons'], i) and torch.equal(cb.events[2]['neurons'], i)
    g = [torch.Generator().manual_seed(((0*1_000_003+r)*1_009) % 2**63) for r in (1, 2)]
    first,second = [{r: v for r,_,v in initial(ffns(lm().model)[0], i, k)}['up'] for k in g]
    torch.testing.assert_close(seen[8][n][i], torch.lerp(seen[0][n][i], first, 5/8))
    at = torch.lerp(seen[0][n][i], first, 6/8) # what it was when it was chosen again
    torch.testing.assert_close(seen[9][n][i], torch.lerp(at, second, 1/8))
    torch.testing.assert_close(seen[11][n][i], torch.lerp(at, second, 3/8))

def test_new_part_is_trained_and_old_part_fixed():
    "Two steps of plain gradient descent against the formula, differentiated by PyTorch"
    torch.manual_seed(0)
    w,x = nn.Parameter(torch.randn(4, 3)),torch.randn(5, 3)
    old,new,i = w.detach()[[1, 2]].clone(),torch.randn(2, 3, requires_grad=True),torch.tensor([1,
        2])
    rest,lr = w.detach().clone(),0.1
    m = Interpolation(w, 0, i, old, new.detach().clone(), 4)
    with torch.no_grad(): m.mix()
    for k in (1, 2):
        full = rest.clone().index_copy(0, i, torch.lerp(old, new, k/4))
        (x@full.T).pow(2).sum().backward()
        with torch.no_grad(): new -= lr*new.grad; new.grad = None
        w.grad = None
        (x@w.T).pow(2).sum().backward()
        with torch.no_grad():
            keep = w.detach().clone()
            to_new([m]); w -= lr*w.grad; to_mix([m])
            rest = w.detach().clone()
        torch.testing.assert_close(m.new, new.detach())
        torch.testing.assert_close(w.detach()[i], torch.lerp(old, new.detach(), (k+1)/4))
        assert not torch.equal(w[[0, 3]], keep[[0, 3]])

@pytest.mark.parametrize('smooth', [6, 11])
def test_blocks_that_share_a_matrix(smooth):
    """In a perceptron the second matrix of one block is the first of the next: gradual change ends
    where a sudden one does"""
    def run(smooth, lr):
        from forgetprune.networks import mlp
        torch.manual_seed(0)
        l = Learner(get_dls('digits', bs=64, device='cpu'), mlp((64, 12, 12, 10)),
            loss_func=nn.CrossEntropyLoss(), opt_func=SGD)
        def fill(f, i, g):
            return [(r, i, torch.full((len(i), *(() if p.ndim==1 else (p.numel()//len(f),))),
                1. if f.rows()[0].shape[1]==64 else 2.)) for r,(p,_) in f.parts().items()]
        cb = Recycle(2, 0.25, lambda f: torch.arange(len(f)).float(), fill, smooth=smooth, end=3)
        with l.no_bar(), l.no_logging(): l.fit(1, lr, cbs=[cb])
        assert cb.round==1 and cb.count > 2+smooth and not cb.moving
        return l.model.state_dict(), cb
    (a,_),(b,cb) = run(0, 0.),run(smooth, 0.)
    assert len(cb.ffns)==2
    for n in a: torch.testing.assert_close(a[n], b[n])
    assert all(p.isfinite().all() for p in run(smooth, 0.01)[0].values())

def test_gradients_where_blocks_cross():
    w = nn.Parameter(torch.ones(4, 4))
    a,b = [Interpolation(w, d, torch.tensor([0, 1]), torch.zeros(2, 4) if d==0 else torch.zeros(4,
        2), torch.ones(2, 4) if d==0 else torch.ones(4, 2), 10, at) for d,at in ((1, 5), (0, 2))]
    w.grad = torch.ones(4, 4)
    to_new([a, b])
    want = torch.ones(4, 4); want[:,:2] = 0.5; want[:2] = 0.2
    torch.testing.assert_close(w.grad, want)

def test_training_again_goes_on():
    """Two trainings with one callback: counts, immunity and what is on its way are kept, and other
    neurons are drawn"""
    l,cb = lm(22, opt='sgd', lr=0.),Recycle(20, 0.25, 'random', immunity=5, smooth=10, end=40)
    with l.no_bar(), l.no_logging():
        l.fit(1, 0., cbs=[cb])
        assert cb.count==22 and [m.t for m in cb.moving]==[0.3]*6
        new = [m.new.clone() for m in cb.moving]
        l.fit(1, 0., cbs=[cb])
    assert cb.count==44 and cb.round==2 and len(cb.losses)==44
    for a,b in zip(cb.events[:2], cb.events[2:]):
        assert not set(a['neurons'].tolist()) & set(b['neurons'].tolist())
    f,i = cb.ffns[0],cb.events[0]['neurons']
    torch.testing.assert_close(f.up.weight.detach()[i], new[0])
    fit(lm(), cb)
    assert cb.count==41 # another network: anew

def test_named_blocks_only():
    cb = Recycle(10, 0.25, blocks=['blocks.1.ff'])
    fit(lm(), cb)
    assert {e['block'] for e in cb.events}=={'blocks.1.ff'}
    with pytest.raises(ValueError, match="no 'nowhere'; there are 'blocks.0.ff'"):
        fit(lm(), Recycle(blocks=['nowhere']))

# ---- the optimiser

opts = dict(sgd=partial(SGD, mom=0.9, wd=0.1), plain=SGD, adam=Adam, rms=RMSProp, lamb=Lamb,
    radam=RAdam, qhadam=QHAdam, lookahead=lambda p, lr: Lookahead(RAdam(p, lr=lr)),
            **{n: partial(OptimWrapper, opt=o) for n,
            o in dict(torch_adamw=partial(torch.optim.AdamW, amsgrad=True),
            torch_sgd=partial(torch.optim.SGD, momentum=0.9), torch_rms=torch.optim.RMSprop,
            torch_adagrad=torch.optim.Adagrad, torch_adamax=torch.optim.Adamax,
            torch_rprop=torch.optim.Rprop, torch_adafactor=torch.optim.Adafactor).items()})

@pytest.mark.parametrize('opt', list(opts))
@pytest.mark.parametrize('state', ['keep', 'first', 'both'])
@pytest.mark.parametrize('smooth', [0, 7])
def test_any_optimiser(opt, state, smooth):
    cb,seen = Recycle(10, 0.25, state=state, smooth=smooth, end=10),{}
    class See(Callback):
        order = 98
        def after_step(self):
            if cb.count!=10: return
            o = self.learn.opt
            while 'opt' in vars(o): o = o.opt
            f = ffns(self.learn.model)[0]
            i,others = cb.events[0]['neurons'],[j for j in range(24)
                if j not in cb.events[0]['neurons']]
            for n,v in o.state.get(f.up.weight, {}).items():
                if not isinstance(v, torch.Tensor) or v.ndim!=2 or v.shape[0]!=24: continue
                cleared = n!='step_size' and (state=='both' or state=='first'
                    and n not in second_moments)
                assert bool((v[i]==0).all())==cleared and (v[others]!=0).any(), n
            seen[0] = True
            if opt=='lookahead':
                slow = next(s for fast,sl in zip(self.learn.opt.param_lists,
                    self.learn.opt.slow_weights) for q,s in zip(fast, sl) if q is f.up.weight)
                want = next(m.new for m in cb.moving
                    if m.p is f.up.weight) if smooth else f.up.weight[i]
                assert torch.equal(slow[i], want)
    l = lm(14, opt_func=opts[opt])
    with l.no_bar(), l.no_logging(): l.fit(1, 0.01, cbs=[cb, See()])
    assert seen and all(p.isfinite().all() for p in l.model.parameters())

def test_memory_is_cleared_in_whatever_order_the_weights_come():
    flip = lambda f, i, g: [(r, k.flip(0), v.flip(0)) for r,k,v in initial(f, i, g)]
    l,cb = lm(11, opt_func=Adam),Recycle(10, 0.25, draw=flip, end=10)
    class See(Callback):
        order = 98
        def after_step(self):
            if cb.count==10:
                self.learn.seen = [self.learn.opt.state[f.up.weight]['grad_avg'][
                    cb.events[k]['neurons']].abs().max() for k,f in enumerate(cb.ffns)]
    with l.no_bar(), l.no_logging(): l.fit(1, 0.01, cbs=[cb, See()])
    assert l.seen==[0, 0]

def test_lookahead_does_not_pull_back_what_is_on_its_way():
    l = lm(40, opt_func=lambda p, lr: Lookahead(SGD(p, lr=lr), k=6, alpha=0.5))
    cb = Recycle(20, 0.25, draw=lambda f, i, g: [(r, k, torch.full_like(v, 3.)) for r,k,
        v in initial(f, i, g)], end=20, smooth=10)
    with l.no_bar(), l.no_logging(): l.fit(1, 0., cbs=[cb])
    assert (cb.ffns[0].up.weight[cb.events[0]['neurons']]==3).all()

def test_never_the_second_alone():
    with pytest.raises(ValueError, match="state='second'"): Recycle(state='second')

# ---- when, and when not

def test_steps_start_end():
    cb = Recycle(5, 0.25, start=7, end=22)
    fit(lm(30), cb)
    assert [e['step'] for e in cb.events if e['block']=='blocks.0.ff']==[12, 17, 22]

def test_not_while_searching_a_rate_nor_evaluating():
    l,cb = lm(30),Recycle(1, 0.25)
    l.add_cb(cb)
    before = copy.deepcopy(l.model.state_dict())
    with l.no_bar(), l.no_logging():
        l.validate(); l.get_preds(dl=l.dls.valid)
        assert same_state(before, l.model.state_dict())
        l.lr_find(num_it=10, show_plot=False)
        assert same_state(before, l.model.state_dict()) and cb.count==cb.round==0
        assert not any(m._forward_hooks for m in l.model.modules())

def test_same_seed_same_run():
    runs = []
    for seed in (0, 0, 1):
        cb = Recycle(10, 0.25, 'random', 'current', smooth=5, seed=seed)
        runs.append((fit(lm(), cb).model.state_dict(), cb))
    assert same_state(runs[0][0], runs[1][0]) and not same_state(runs[0][0], runs[2][0])
    assert all(torch.equal(a['neurons'], b['neurons']) for a,b in zip(runs[0][1].events,
        runs[1][1].events))

@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('extra,rounds', [(lambda: [GradientAccumulation(16)], 1),
    (lambda: [Cpu16()], 4), (lambda: [MixedPrecision()], 4), (lambda: [GradientClip(0.1)], 4)])
@pytest.mark.parametrize('smooth', [0, 4])
def test_counts_steps_of_the_optimiser(extra, rounds, smooth):
    "Four batches of four are one step of sixteen"
    cb = Recycle(10, 0.25, smooth=smooth, select='utility')
    l = fit(lm(41), cb, *extra())
    assert cb.round==rounds and all(p.isfinite().all() for p in l.model.parameters())
    assert len(cb.losses)==cb.count

def test_a_skipped_step_does_not_count():
    from fastai.basics import CancelStepException
    class Skip(Callback):
        order = 10
        def before_step(self):
            if self.train_iter%2: raise CancelStepException()
    cb = Recycle(10, 0.25, smooth=3)
    fit(lm(40), cb, Skip())
    assert cb.count==20 and cb.round==2

def test_frozen_blocks_are_left_alone():
    l,cb = lm(),Recycle(10, 0.25)
    for p in l.model.blocks[0].parameters(): p.requires_grad_(False)
    before = copy.deepcopy(l.model.blocks[0].state_dict())
    fit(l, cb)
    assert set(cb.counts)=={'blocks.1.ff'} and same_state(before, l.model.blocks[0].state_dict())
    l = lm()
    for b in l.model.blocks: b.ff.up.requires_grad_(False)
    with pytest.raises(ValueError, match='frozen'): fit(l, Recycle(10, 0.25))

# ---- with a cut

@pytest.mark.parametrize('side', ['both', 'rows', 'columns'])
def test_pruned_neurons_are_used_only_if_asked(side):
    l = lm()
    dead = torch.arange(8)
    c = neuron_cut(l.model, {'blocks.0.ff': dead})
    names = {'rows': 'blocks.0.ff.up', 'columns': 'blocks.0.ff.down'}
    if side!='both': c = Cut.take(l.model, {names[side]: c.indices[names[side]]})
    cb = Recycle(10, 0.25)
    fit(l, cb, KeepCut(c))
    assert all(not set(e['neurons'].tolist()) & set(range(8)) for e in cb.events
        if e['block']=='blocks.0.ff')
    assert all((w.detach().take(c.indices[n])==0).all() for n,w in c.weights(l.model).items())
    l,cb,keep = lm(),Recycle(10, 0.25, pruned=True, immunity=9),None
    fit(l, cb, KeepCut(c))
    first = cb.events[0]['neurons']
    assert set(first.tolist()) < set(range(8)) # magnitude zero: the weakest
    f = ffns(l.model)[0]
    back = cb.counts['blocks.0.ff'][:8] > 0
    assert (magnitudes(f)[:8]>0).tolist()==back.tolist() and back.all()
    l,cb,keep = lm(),Recycle(10, 0.1, pruned=True, immunity=9, end=10),KeepCut(c)
    fit(l, cb, keep)
    # those that were put to work stay so, the others stay cut; the cut that was handed in is what
    # it was
    fit(l, cb, keep)
    assert (magnitudes(ffns(l.model)[0])[:8]>0).sum()==2
    assert len(c)==sum(map(len, c.values.values())) > len(keep.cut)

def test_a_state_may_come_before_its_training():
    l = lm()
    c = neuron_cut(l.model, {'blocks.0.ff': torch.arange(8)})
    cb,keep = Recycle(10, 0.1, pruned=True, end=10),KeepCut(c)
    fit(l, cb, keep)
    back = cb.counts['blocks.0.ff'][:8] > 0
    new,held = Recycle(10, 0.1, pruned=True, end=10),KeepCut(c)
    new.load_state_dict(cb.state_dict())
    fit(l, new, held) # what had been put to work is not zeroed again
    assert back.any() and (magnitudes(ffns(l.model)[0])[:8]>0).tolist()==back.tolist()
    assert len(held.cut)==len(keep.cut)

@pytest.mark.parametrize('smooth', [0, 30])
def test_gradually_pruned_neurons_stay_pruned(smooth):
    l,gone,cb = lm(),GradualPruning(0.5, start=2, end=12, every=5),Recycle(10, 0.25, smooth=smooth)
    fit(l, gone, cb)
    for f in ffns(l.model): assert (magnitudes(f)[gone.gone[f.name]]==0).all()
    for e in cb.events[2:]: assert not gone.gone[e['block']][e['neurons']].any()

def test_an_interrupted_training_leaves_no_watcher():
    class Stop(Callback):
        def after_step(self): raise KeyboardInterrupt
    l = lm()
    with pytest.raises(KeyboardInterrupt): fit(l, Recycle(10, 0.25, 'utility'), Stop())
    fit(l, Recycle(10, 0.25))
    assert not any(m._forward_hooks for m in l.model.modules())

def test_blocks_that_are_called_by_keyword(monkeypatch):
    def trained():
        l,cb = lm(),Recycle(5, 0.25, 'utility')
        fit(l, cb)
        return l.model.state_dict(), cb.counts
    usual = trained()
    monkeypatch.setattr('forgetprune.networks.FeedForward.forward',
        lambda self, x: self.down(input=self.act(self.up(input=x))))
    for a,b in zip(usual, trained()): assert all(torch.equal(a[n], b[n]) for n in a)
    class Stop(Callback):
        def after_step(self): raise KeyboardInterrupt
    l = lm()
    with pytest.raises(KeyboardInterrupt): fit(l, Recycle(10, 0.25, 'utility'), Stop())
    fit(l, Recycle(10, 0.25))
    assert not any(m._forward_hooks or m._forward_hooks_with_kwargs for m in l.model.modules())

def test_a_batch_that_overflows_is_not_counted():
    a = Activity(2)
    for h in (torch.tensor([[1., 0.], [0., 2.]]),
            torch.tensor([[float('inf'), 1.], [1., float('nan')]]),
            torch.tensor([[1., 0.], [0., 2.]])):
        a(nn.Identity(), (h,), h)
    torch.testing.assert_close(a.averages(), torch.tensor([[0.5, 0.5], [0.5, 1.]]))

# ---- errors

@pytest.mark.parametrize('kw,msg', [(dict(every=0), 'every=0'), (dict(frac=0), 'frac=0'),
    (dict(frac=1.5), 'frac=1.5'), (dict(select='small'), "select='small'"),
    (dict(draw='fresh'), "draw='fresh'"), (dict(immunity=-1), 'immunity=-1'),
    (dict(start=5, end=5), 'end=5'), (dict(smooth=2.5), 'smooth=2.5'), (dict(end=float('nan')),
    'end=nan'), (dict(seed=None), 'seed=None'), (dict(seed=-1), 'seed=-1')])
def test_clear_errors(kw, msg):
    with pytest.raises(ValueError, match=msg): Recycle(**kw)

def test_clear_errors_in_training():
    with pytest.raises(ValueError, match='is not one neuron'): fit(lm(), Recycle(frac=0.01))
    with pytest.raises(ValueError, match='select: a score for each'):
        fit(lm(), Recycle(5, 0.25, select=lambda f: torch.zeros(3)))
    assert Recycle(every=np.int64(5)).every==5
    for draw in ('copy', 'split', Copies(0)):
        with pytest.raises(ValueError, match='0.5 is the most'):
            fit(lm(), Recycle(5, 0.6, draw=draw))
    for new,msg in (([('gate', torch.arange(6), torch.ones(6, 16))], "no part 'gate'"),
            ([('up', torch.arange(6), torch.ones(6, 1))], r'of shape \(6, 16\)'),
            ([('up', torch.zeros(6).long(), torch.ones(6, 16))], 'at most once'),
            ([('up', torch.arange(6), torch.ones(6, 16)/0)], 'NaN or infinite')):
        for smooth in (0, 5):
            with pytest.raises(ValueError, match=msg):
                fit(lm(), Recycle(5, 0.25, draw=lambda f, i, g, new=new: new, smooth=smooth))
    with pytest.raises(ValueError, match='two Recycle'):
        fit(lm(), Recycle(5, 0.25), Recycle(7, 0.25))
    l = lm(lr=1e30, opt='sgd')
    with pytest.raises(ValueError, match='diverged'): fit(l, Recycle(5, 0.25))
    with pytest.raises(ValueError, match='none of them NaN'):
        fit(lm(), Recycle(5, 0.25, select=lambda f: magnitudes(f)*float('nan')))
    l = Learner(get_dls('digits', device='cpu'), nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
        loss_func=nn.CrossEntropyLoss())
    with l.no_bar(), l.no_logging(), pytest.raises(ValueError,
            match='nothing to recycle|no linear'):
        l.fit(1, cbs=Recycle())

def test_tables_and_figures():
    cb = Recycle(100, 0.25)
    with pytest.raises(ValueError, match='nothing was trained'): cb.table()
    fit(lm(11), cb)
    assert len(cb.table())==0 and cb.ever()==0
    for draw in (cb.plot, cb.slide):
        with pytest.raises(ValueError, match='after 100'): draw()
    cb = Recycle(5, 0.25)
    fit(lm(60), cb)
    t = cb.table()
    assert len(t)==2*cb.round and (t.chosen<=t['all']).all()
    assert cb.ever()==pytest.approx(np.mean([(c>0).float().mean() for c in cb.counts.values()]))
    np.testing.assert_allclose(t.ever.iloc[-2:], [(c>0).float().mean() for c in cb.counts.values()],
        rtol=1e-6)
    assert len(cb.plot().axes)==3 and 'http' not in cb.slide() and len(cb.spikes(2, 3))==5

# ---- several processes

TWO = '''
import os, sys, torch
sys.path.insert(0, 'tests')
from fastai.distributed import *
from fastai.distributed import DistributedDL
import test_recycle as R
from forgetprune.recycle import Recycle
from forgetprune.text import warm_fit
rank = int(os.environ['RANK'])
class Whole(DistributedDL): # each process draws batches of its own
    def __iter__(self): return iter(self.dl)
    def __len__(self): return len(self.dl)
DistributedTrainer._wrap_dl = lambda self, dl: dl if isinstance(dl, Whole) else Whole(dl, rank, 2)
def run(select, draw, smooth):
    l = R.lm(41)
    l.dls.train.seed = rank
    cb = Recycle(10, 0.25, select, draw, immunity=1, smooth=smooth)
    with l.distrib_ctx(sync_bn=False, cpu=True):
        with l.no_bar(), l.no_logging(): warm_fit(l, cbs=[cb])
    torch.save(dict(model=l.model.state_dict(), neurons=[e['neurons'] for e in cb.events],
        loss=torch.stack(cb.losses)), f'{sys.argv[1]}/{select}-{rank}.pt')
for how in R.two_ways: run(*how)
'''
two_ways = [('low', 'initial', 0), ('utility', 'current', 5)]

@pytest.fixture(scope='module')
def two_processes(tmp_path_factory):
    "A folder with what two processes that train together have found, in each way"
    pytest.importorskip('accelerate')
    import socket
    out = tmp_path_factory.mktemp('two')
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    env = {**os.environ, 'WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port),
        'ACCELERATE_USE_CPU': '1', 'OMP_NUM_THREADS': '1'}
    ps = [subprocess.Popen([sys.executable, '-c', TWO, str(out)],
        env={**env, 'RANK': str(r), 'LOCAL_RANK': str(r)}, stderr=subprocess.PIPE, text=True)
        for r in (0, 1)]
    errs = [p.communicate(timeout=180)[1] for p in ps]
    assert all(p.returncode==0 for p in ps), errs[0][-2000:]
    return out

@pytest.mark.slow
@pytest.mark.parametrize('select,draw,smooth', two_ways)
def test_two_processes_stay_equal(select, draw, smooth, two_processes):
    a,b = [torch.load(two_processes/f'{select}-{r}.pt', weights_only=True) for r in (0, 1)]
    assert not torch.equal(a['loss'], b['loss']) # they saw different batches
    assert len(a['neurons'])==8
    assert all(torch.equal(x, y) for x, y in zip(a['neurons'], b['neurons']))
    assert same_state(a['model'], b['model'])

@pytest.mark.parametrize('draw', ['initial', 'current', 'zero', 'copy'])
def test_a_block_is_measured_once_a_round(draw, monkeypatch):
    "Whom to choose, what to note and what to draw are told by one look at the norms"
    import forgetprune.recycle as R
    looked = []
    monkeypatch.setattr(R, 'magnitudes', lambda f: looked.append(f.name) or magnitudes(f))
    l,cb = lm(),Recycle(10, 0.25, draw=draw)
    with l.no_bar(), l.no_logging(): warm_fit(l, cbs=[cb])
    assert cb.round and len(looked)==cb.round*len(cb.ffns)
