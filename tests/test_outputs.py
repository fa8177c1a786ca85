import copy
import numpy as np, pandas as pd, pytest, torch
from torch import nn
from conftest import same_state
from forgetprune.data import get_dls
from forgetprune.classes import class_split, without
from forgetprune.cut import Cut
from forgetprune.rivals import get_scores
from forgetprune.curve import naive_curve
from forgetprune.scores import random_scores
from forgetprune.training import get_learner, model_file
from forgetprune.outputs import *
from forgetprune.watch import *

def test_tables_against_loops(learn, digits):
    o = torch.cat([learn.model(x) for x,_ in digits.test]).detach()
    y = digits.test.tensors[1]
    for stat,f in (('mean', lambda v: v.mean(0)), ('std', lambda v: v.std(0))):
        np.testing.assert_allclose(output_values(learn.model, digits.test, stat).values,
            torch.stack([f(o[y==c]) for c in range(10)]), atol=1e-5)
    assert answer_counts(learn.model, digits.test).tolist() == o.argmax(1).bincount(
        minlength=10).tolist()
    p,_ = outputs_on(learn.model, digits.test, softmax=True)
    torch.testing.assert_close(p.sum(1), torch.ones(len(p)))

def test_modes_and_weights_are_left(learn, digits):
    learn.model.train()
    learn.model[2].eval()
    modes,before = [m.training for m in learn.model.modules()],copy.deepcopy(
        learn.model.state_dict())
    output_curve(learn.model, random_scores(learn.model), [0, 10, 100], digits.test, 7)
    assert [m.training for m in learn.model.modules()]==modes
    assert same_state(before, learn.model.state_dict())

def test_weights_return_after_an_error(learn, digits):
    before,bad = copy.deepcopy(learn.model.state_dict()),[b for b in digits.test]
    class Breaks:
        n = 0
        def __iter__(self):
            self.n += 1
            if self.n > 2: raise KeyboardInterrupt
            return iter(bad)
    with pytest.raises(KeyboardInterrupt):
        output_curve(learn.model, random_scores(learn.model), [0, 10, 100], Breaks(), 7)
    assert same_state(before, learn.model.state_dict())

def test_curve_agrees_with_accuracy(learn, digits, sevens):
    s,ks = get_scores('maav_difference', learn.model, *sevens),[0, 50, 200, 500]
    c,n = output_curve(learn.model, s, ks, digits.test, 7),naive_curve(learn.model, s, ks,
        digits.test, 7)
    np.testing.assert_allclose(c[['target', 'retain']].values, n[['target', 'retain']].values,
        atol=1e-6)
    np.testing.assert_allclose(c.own, c[7])
    assert (c.iloc[0][['moved_target', 'moved_retain', 'rise']]==0).all()
    cut = Cut.take(learn.model, {k: torch.arange(0) for k in s})
    assert len(cut)==0

def test_curve_needs_both_classes(learn, digits):
    t,_ = class_split(digits.test, 7)
    with pytest.raises(ValueError, match='of other classes'):
        output_curve(learn.model, random_scores(learn.model), [0], t, 7)

def test_nan_is_an_error(learn):
    with pytest.raises(ValueError, match='not finite'):
        outputs_on(learn.model, [(torch.full((2, 1, 8, 8), float('nan')), torch.tensor([0, 1]))])

def test_first_move():
    c = pd.DataFrame(dict(k=[0, 100, 200], own=[1., 0.8, 0.8]))
    assert first_move(c, 'own', 0.1) == pytest.approx(50) and np.isnan(first_move(c, 'own', 0.3))

def test_over_suppression_scale(learn, digits):
    class Says(nn.Module):
        def __init__(self, v): super().__init__(); self.v = nn.Parameter(torch.tensor(float(v)))
        def forward(self, x):
            return torch.zeros(len(x), 10) + self.v*torch.eye(10)[7] + 0.001*x.flatten(1).mean(1,
                keepdim=True)
    t,_ = class_split(digits.test, 7)
    says = lambda *vs: [outputs_on(Says(v), t)[0] for v in vs]
    o = over_suppression(*says(-0.5, 0, 1), 7)
    assert o['beyond'] == pytest.approx(0.5, abs=1e-3) and o['flagged']
    assert not over_suppression(*says(0.05, 0, 1), 7)['flagged']
    assert over_suppression(*says(-0.5, 0), 1.0, 7)['beyond'] == pytest.approx(0.5, abs=1e-2)

def test_gold_never_sees_the_class(digits, tmp_path):
    learn = get_learner(digits, dict(name='mlp', sizes=(64, 30, 20, 10)), recipe=dict(opt='adam',
        lr=3e-3, epochs=3, one_cycle=True), seed=0)
    g = get_gold(learn, 7, folder=tmp_path, progress=False)
    assert answer_counts(g, class_split(digits.test, 7)[0])[7] == 0 and not g.training
    files = list(tmp_path.iterdir())
    rng = torch.get_rng_state()
    again = get_gold(learn, 7, folder=tmp_path, progress=False)
    assert torch.equal(rng, torch.get_rng_state())
    assert same_state(g.state_dict(), again.state_dict()) and list(tmp_path.iterdir())==files
    names = {model_file(get_learner(d, learn.arch, learn.recipe), tmp_path) for d in (digits,
        without(digits, 7), without(digits, 8))}
    assert len(names)==3
    del learn.recipe
    with pytest.raises(ValueError, match='does not say how it was made'): get_gold(learn, 7)

def test_player_is_the_same_each_time_and_asks_for_nothing(learn, digits, sevens):
    c = output_curve(learn.model, get_scores('maav_difference', learn.model, *sevens), [0, 100],
        digits.test, 7)
    a = slide_outputs(c)
    assert a==slide_outputs(c) and '//' not in a.split('<script')[0] and 'http' not in a
    assert 'aria-label="weights cut per layer"' in a

def test_numbers_in_the_matrix():
    t = pd.DataFrame([[10.25, -0.5], [-10.6, 0.004]])
    assert [x.get_text() for x in plot_outputs({'a': t}).axes[0].texts]==['10.25', '-.50', '-10.60',
        '.00']

def test_key_knows_the_data(digits, learn, tmp_path):
    other = get_dls('digits', bs=32, device='cpu')
    other.train.tensors[1][:5] = (other.train.tensors[1][:5]+1) % 10
    a,b,c = [model_file(get_learner(d, learn.arch, learn.recipe), tmp_path)
        for d in (get_dls('digits', bs=32, device='cpu'), get_dls('digits', bs=32, device='cpu'),
        other)]
    assert a==b!=c

def test_over_suppression_ignores_a_shift_under_cross_entropy(learn, sevens):
    import copy
    from torch import nn
    gold = copy.deepcopy(learn.model)
    gold[-1].bias.data[7] -= 3
    shifted = copy.deepcopy(gold)
    shifted[-1].bias.data -= 50
    o,g,base = [outputs_on(m, sevens[0])[0] for m in (shifted, gold, learn.model)]
    a,b = [over_suppression(v, g, base, 7, loss_func=nn.CrossEntropyLoss())['beyond']
        for v in (g, o)]
    assert abs(a-b) < 1e-4 < over_suppression(o, g, base, 7)['beyond']

def test_what_enters_the_last_layer():
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    x = torch.randn(7, 3)
    torch.testing.assert_close(before_last(net, x, bs=2), net[:2](x).detach())
    assert not before_last(net, x).requires_grad
    with pytest.raises(ValueError, match='not those of its last linear layer'):
        before_last(nn.Sequential(net, nn.Softmax(1)), x)
    with pytest.raises(ValueError, match='no linear layer'): before_last(nn.Flatten(), x)
