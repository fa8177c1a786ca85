"New weights: what they are made of"
import numpy as np, pytest, torch
from torch import nn
from forgetprune.blocks import FFN
from forgetprune.draws import *
from forgetprune.draws import current, initial
from forgetprune.magnitudes import magnitudes

def test_current_has_the_moments_of_the_layer():
    f = FFN('', nn.Linear(200, 400), nn.Linear(400, 200))
    f.up.weight.data.mul_(3).add_(0.5); f.down.weight.data.mul_(0.1)
    got = {r: v for r,_,v in current(f, torch.arange(300), torch.Generator().manual_seed(0))}
    for r,(p,_) in f.parts().items():
        np.testing.assert_allclose([got[r].mean(), got[r].std()], [p.data.mean(), p.data.std()],
            atol=0.2*float(p.data.std()))

def test_initial_is_that_of_a_new_layer():
    f = FFN('', nn.Linear(100, 400), nn.Linear(400, 100))
    for r,_,v in initial(f, torch.arange(400), torch.Generator().manual_seed(0)):
        p,_ = f.parts()[r]
        np.testing.assert_allclose([v.std(), v.abs().max()], [p.data.std(), p.data.abs().max()],
            rtol=0.15)

def test_copies_come_from_the_strong_and_not_from_the_chosen():
    f = FFN('', nn.Linear(5, 8), nn.Linear(8, 5))
    weak = magnitudes(f).argsort()[:3]
    write_neurons(f, Copies(noise=0)(f, weak, torch.Generator().manual_seed(0)))
    strong = magnitudes(f).argsort(descending=True)[:6]
    assert set(weak.tolist()) < set(strong.tolist())
    with pytest.raises(ValueError, match='recycle fewer'): Copies()(f, torch.arange(5))
