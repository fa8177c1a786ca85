import copy
import pytest, torch
from conftest import same_state
from forgetprune.erase import *
from forgetprune.forget import class_accuracies
from forgetprune.models import cnn

def test_parts(learn, sevens):
    whole = copy.deepcopy(learn.model.state_dict())
    c = erasing_cut(learn.model, *sevens, disconnect=0.25, kill=0.5, share=0.)
    assert same_state(whole, learn.model.state_dict()) # not applied
    m = c.apply(copy.deepcopy(learn.model))
    w3,w5 = m[3].weight,m[5].weight
    assert (w3==0).all(0).sum() >= 12 # a quarter of the 48 inputs
    assert ((w3<=0).all(1)).sum() >= 20 and ((w5<=0).all(1)).sum() >= 12 # half of the 40 and 24 units
    assert not (w5==0).all(0).any()
    c.undo(m)
    assert same_state(whole, m.state_dict())

def test_scale_sets_the_size(learn, sevens):
    sizes = [len(erasing_cut(learn.model, *sevens, scale)) for scale in (0., 0.5, 1., 100.)]
    assert sizes[0]==0 and sizes==sorted(sizes) and sizes[-1]==48*40+40*24

def test_heal_holds_the_cut(learn, sevens):
    c = erasing_cut(learn.model, *sevens, 1.)
    m = c.apply(copy.deepcopy(learn.model))
    before,base = copy.deepcopy(m.state_dict()),copy.deepcopy(learn.model.state_dict())
    h = heal(learn, m, c, 7, steps=60, lr=1e-3)
    assert same_state(before, m.state_dict()) and same_state(base, learn.model.state_dict())
    assert all((w.take(c.indices[n])==0).all() for n,w in c.weights(h).items())
    assert class_accuracies(h, learn.dls.valid, 7)[1] > class_accuracies(m, learn.dls.valid, 7)[1]
    assert same_state(h.state_dict(), heal(learn, m, c, 7, steps=60, lr=1e-3).state_dict())

def test_linear_layers_only():
    torch.manual_seed(0)
    net,x = cnn(),torch.rand(8, 1, 28, 28)
    with pytest.raises(ValueError, match='linear layers only'): erasing_cut(net, [(x, torch.zeros(8, dtype=torch.long))], [(x, torch.ones(8, dtype=torch.long))], layers=['3'])
