import numpy as np, pytest, torch
from torch import nn
from forgetprune.witnesses import *

def test_probes_are_the_same_whether_activations_are_handed_in(learn, digits):
    data = probe_data(digits.train, digits.test, 7)
    seen = tuple(activations(learn.model, x) for x in (data.x, data.x_judged))
    for h in (0, 8):
        a,b = [probe_right(learn.model, data, hidden=h, seen=s) for s in (None, seen)]
        assert a.equals(b) and balanced(a)['outputs'] > 0.9

def test_control_labels_are_the_same_for_the_same_image(digits):
    data = probe_data(digits.train, digits.train, 7, n=1000)
    t = control_task(data, clusters=8, seed=3)
    both = {x.numpy().tobytes(): y for x,y in zip(t.x, t.y)}
    assert all(both[x.numpy().tobytes()]==y for x,y in zip(t.x_judged, t.y_judged)
        if x.numpy().tobytes() in both)
    assert set(t.y)==set(t.y_judged)=={0, 1} and not np.array_equal(t.y, data.y)

def test_a_line_reads_less_of_the_control_than_of_the_class(learn, digits):
    s = selectivity(learn.model, probe_data(digits.train, digits.test, 7), draws=2)
    assert s.loc['outputs', 'class'] > 0.9 and s.loc['outputs', 'selectivity'] > 0.1

@pytest.mark.parametrize('debiased', [False, True])
def test_cka_is_symmetric_and_ignores_turns(debiased):
    a,b = torch.randn(40, 6),torch.randn(40, 9)
    turn = torch.linalg.qr(torch.randn(6, 6))[0]
    assert cka(a, b, debiased)==pytest.approx(cka(b, a, debiased))
    assert cka(a@turn*2+1, b, debiased)==pytest.approx(cka(a, b, debiased), abs=1e-5)
    with pytest.raises(ValueError, match='the same items'): cka(a, b[:30], debiased)

@pytest.mark.parametrize('loss', [None, nn.CrossEntropyLoss()])
def test_confidence_is_the_logit_of_the_probability(loss):
    o = torch.randn(20, 5)
    own = confidences(o, 2, loss)[:,0]
    p = o.double().softmax(1)[:,2]
    np.testing.assert_allclose(own, (o[:,2] if loss is None else torch.logit(p)), rtol=1e-6)
    assert confidences(o, 2, loss, others=True).shape==(20, 4)

def test_attack_on_one_more_gold_is_chance_and_needs_three():
    mean = 5*torch.randn(300, 4)
    drawn = lambda: Answers(mean+torch.randn(300, 4))
    golds = [drawn() for _ in range(4)]
    for others in (False, True):
        assert abs(reference_attack(drawn(), golds, None, 1, others=others)['auc']-0.5) < 0.1
    with pytest.raises(ValueError, match='at least three golds'):
        reference_attack(drawn(), golds[:2], None, 1)
    with pytest.raises(ValueError, match='at least two networks'):
        reference_attack(drawn(), golds, None, 1, golds[:1])
