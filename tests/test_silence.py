import copy
import pytest, torch
from torch import nn
from conftest import same_state
from forgetprune.audit import audit
from forgetprune.silence import *
from forgetprune.forget import *
from forgetprune.watch import class_accuracies
from forgetprune.networks import cnn, mlp

def test_silenced_units_say_nothing_where_biases_do_not(learn, sevens, digits):
    whole = copy.deepcopy(learn.model.state_dict())
    c = silencing_cut(learn.model, *sevens, 0.5)
    assert same_state(whole, learn.model.state_dict()) # not applied
    m = c.apply(copy.deepcopy(learn.model))
    # half of the 40 and 24 units
    assert (m[3].weight<=0).all(1).sum() == 20 and (m[5].weight<=0).all(1).sum() == 12
    assert all((v>0).all() for v in c.values.values())
    silent = (m[3].weight<=0).all(1)
    h = m[:4](digits.test.tensors[0])
    assert (h[:,silent] <= m[3].bias[silent].clamp(min=0)+1e-6).all()
    c.undo(m)
    assert same_state(whole, m.state_dict())

def test_most_specific_units_are_taken(learn, sevens):
    s = specificity(learn.model, *sevens, {'5': learn.model[5]})['5']
    c = silencing_cut(learn.model, *sevens, 0.25, layers=['5'])
    assert set((c.indices['5']//40).tolist()) == set(s.topk(6).indices.tolist())
    assert not torch.equal(c.indices['5'], silencing_cut(learn.model, *sevens, 0.25, layers=['5'],
        seed=0).indices['5'])

def test_share_sets_the_size(learn, sevens):
    sizes = [len(silencing_cut(learn.model, *sevens, s)) for s in (0., 0.5, 1.)]
    assert sizes[0]==0 and sizes==sorted(sizes)
    assert sizes[-1]==sum((learn.model[i].weight>0).sum() for i in (3, 5))

def test_heal_holds_the_cut(learn, sevens):
    c = silencing_cut(learn.model, *sevens, 0.8)
    m = c.apply(copy.deepcopy(learn.model))
    before,base = copy.deepcopy(m.state_dict()),copy.deepcopy(learn.model.state_dict())
    h = heal(learn, m, c, 7, steps=100)
    assert same_state(before, m.state_dict()) and same_state(base, learn.model.state_dict())
    assert all((w.take(c.indices[n])==0).all() for n,w in c.weights(h).items())
    assert class_accuracies(h, learn.dls.valid, 7)[1] > class_accuracies(m, learn.dls.valid, 7)[1]
    assert same_state(h.state_dict(), heal(learn, m, c, 7, steps=100).state_dict())

def test_schedule(learn, digits):
    start = copy.deepcopy(learn.model)
    res = learn.forget(7, criterion='erasing', goal=0.05, budget=0.05, steps=200, progress=False)
    v = res.table['validation']
    assert res.reached == (v.target['cut'] <= 0.05 and v.retain['as trained']-v.retain['cut']
        <= 0.05)
    assert tuple(res.table['test'].loc['cut']) == class_accuracies(learn.model, digits.test, 7)
    assert tuple(res.table['test'].loc['as trained']) == class_accuracies(start, digits.test, 7)
    assert 'healed for 200 steps' in repr(res) and res.cut.meta['healed']==200
    assert len(res.plot().axes)==2
    again = copy.deepcopy(learn.model.state_dict())
    learn.model = start
    learn.forget(7, criterion='erasing', goal=0.05, budget=0.05, steps=200, progress=False)
    assert same_state(again, learn.model.state_dict())

def test_out_of_reach_is_said(learn):
    res = learn.forget(7, criterion='erasing', goal=0., budget=0., steps=3, shares=(0.9, 0.5),
        progress=False)
    assert not res.reached and 'NOT REACHED' in repr(res) and len(res.curve)==3

def test_interrupt_leaves_the_network(learn, monkeypatch):
    import forgetprune.forget as E
    before = copy.deepcopy(learn.model.state_dict())
    def stop(*a, **k): raise KeyboardInterrupt
    monkeypatch.setattr(E, 'compared', stop)
    with pytest.raises(KeyboardInterrupt):
        learn.forget(7, criterion='erasing', steps=3, progress=False)
    assert same_state(before, learn.model.state_dict())

def test_what_was_healed_is_not_undone_by_the_audit(learn):
    gold = copy.deepcopy(learn.model)
    with torch.no_grad(): gold[-1].bias[7] -= 2
    res = learn.forget(7, criterion='erasing', steps=20, progress=False)
    with pytest.raises(ValueError, match='cannot be undone'): res.cut.undo(learn.model)
    assert 'before' not in audit(learn, 7, gold, res.cut, repeats=1, progress=False).table

@pytest.mark.parametrize('kw,msg', [(dict(share=1.5), 'between 0 and 1'),
    (dict(layers=['7']), 'only the last layer')])
def test_clear_errors(learn, sevens, kw, msg):
    with pytest.raises(ValueError, match=msg): silencing_cut(learn.model, *sevens, **kw)

def test_only_after_relu(learn, sevens):
    torch.manual_seed(0)
    x = torch.rand(8, 1, 28, 28)
    with pytest.raises(ValueError, match='linear layers only'):
        silencing_cut(cnn(), [(x, torch.zeros(8, dtype=torch.long))],
            [(x, torch.ones(8, dtype=torch.long))], layers=['3'])
    with pytest.raises(ValueError, match='negative at times'):
        silencing_cut(mlp((64, 48, 40, 24, 10), act=nn.Tanh), *sevens)
    with pytest.raises(ValueError, match='leave k out'): learn.forget(7, 5, criterion='erasing')
    with pytest.raises(ValueError, match='shares is empty'):
        learn.forget(7, criterion='erasing', shares=(), progress=False)
