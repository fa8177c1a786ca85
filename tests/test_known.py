"Networks whose answer is known, none of them used to choose the rules of the verdict"
import copy
import pytest, torch
from forgetprune.audit import audit
from forgetprune.classes import class_split, without
from forgetprune.data import get_dls
from forgetprune.sizing import smallest_cut
from forgetprune.known import *
from forgetprune.references import references
from forgetprune.scores import maav_difference
from forgetprune.training import get_learner
from forgetprune.watch import outputs_on
from forgetprune.witnesses import rescaled

def small(seed, target=None, epochs=25, **kw):
    "A network of small digits trained by cross-entropy, the harder case"
    dls = get_dls('digits', bs=64, seed=0)
    recipe = dict(opt='adam', lr=3e-3, epochs=epochs, one_cycle=True, loss='cross_entropy') | kw
    arch = dict(name='mlp', sizes=(64, 200, 120, 60, 10))
    l = get_learner(dls if target is None else without(dls, target), arch, recipe, seed=seed)
    with l.no_bar(), l.no_logging(): l.fit_one_cycle(epochs, recipe['lr'])
    return l

def golden_cases(target):
    "Golds of another start, another recipe, and at another pace"
    return {'gold, another start': small(31, target).model, 'gold, by SGD': small(32, target, 40,
        opt='sgd', lr=0.1).model, 'gold, rescaled': rescaled(small(33, target).model)}

@pytest.mark.slow
def test_the_verdict_is_right_or_says_that_it_cannot_tell():
    target,learn = 2,small(30)
    base = learn.model
    ref = references(learn, target, [small(s, target).model for s in (34, 35, 36)], base,
        most=8_000, progress=False)
    cases = {n: (m, known_answers[n]) for n,m in known_cases(learn, target).items()}
    cases |= {n: (m, {'erased'}) for n,m in golden_cases(target).items()}
    scores = maav_difference(base, *class_split(learn.dls.train, target))
    cut = smallest_cut(base, scores, learn.dls.valid, target).apply(copy.deepcopy(base))
    cases['cut'] = cut,{'suppressed', 'weakened'}
    said = {}
    for n,(m,_) in cases.items():
        learn.model = m
        said[n] = audit(learn, target, ref, repeats=1, progress=False).verdict
    assert len(cases) >= 10
    wrong = {n: said[n] for n,(_,right) in cases.items() if said[n] not in right | {'unclear'}}
    assert not wrong, said
    assert all(w!='erased' for n,w in said.items() if 'gold' not in n), said
    assert sum(said[n] in right for n,(_,right) in cases.items()) >= 0.5*len(cases), said
    assert said['untouched']=='present' and said['scrambled']=='unclear'

def test_rescaled_is_the_same_function(learn, digits):
    a,b = [outputs_on(m, digits.test)[0] for m in (learn.model, rescaled(learn.model))]
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)

def test_cases_leave_the_network_as_it_was(learn):
    before = copy.deepcopy(learn.model.state_dict())
    cases = known_cases(learn, 7)
    assert set(cases)==set(known_answers)
    assert all(torch.equal(v, learn.model.state_dict()[n]) for n,v in before.items())
