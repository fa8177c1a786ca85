"Scores against forms that materialise every image"
import copy
import numpy as np, pytest, torch, torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.func import functional_call, grad, vmap
from conftest import same_state
from forgetprune.scores import *
from forgetprune.rivals import *
from forgetprune.cut import *
from forgetprune.curve import *
from forgetprune.watch import *
from forgetprune.layers import *
from forgetprune.layers import linears
from forgetprune.networks import Encoder, cnn, mlp
from forgetprune.training import squared_error

def batches(x, y, bs): return list(zip(x.split(bs), y.split(bs)))
def parts(x, y, bs=7): return batches(x[y==0], y[y==0], bs), batches(x[y!=0], y[y!=0], bs)

def naive_maav(model, dl, layers):
    "Mean over images (and positions) of |w x|, one tensor of the size of the weight per look"
    res,n = {},{}
    def hook(name, l, x, out):
        if isinstance(l, nn.Conv2d):
            if l.padding_mode!='zeros': x,pad = F.pad(x, l._reversed_padding_repeated_twice,
                mode=l.padding_mode),0
            else: pad = l.padding if l.padding!='same' else l.dilation
            g = l.groups
            # image, channel*window, position
            u = F.unfold(x, l.kernel_size, l.dilation, pad, l.stride)
            # look, group, window
            u = u.view(len(u), g, -1, u.shape[-1]).permute(0, 3, 1, 2).flatten(0, 1)
            w = l.weight.view(g, l.out_channels//g, -1)
            v = (w[None]*u[:,:,None]).abs().sum(0).view_as(l.weight)
            k = len(u)
        else:
            x = x.reshape(-1, x.shape[-1])
            w = l.weight if isinstance(l, nn.Linear) else l.weight.T
            v,k = (w[None].double()*x[:,None].double()).abs().sum(0),len(x)
            v = v if isinstance(l, nn.Linear) else v.T
        res[name],n[name] = res.get(name, 0)+v.double(),n.get(name, 0)+k
    with watching(model, layers, hook), torch.no_grad():
        for x,_ in dl: model(x)
    return {k: v/n[k] for k,v in res.items()}

def close(a, b, rel=1e-5):
    assert (a.double()-b.double()).abs().max() <= rel*b.abs().max().clamp(min=1e-12), (a, b)

def check(model, x, y, layers=None):
    layers = pick_layers(model, layers)
    before = copy.deepcopy(model.state_dict())
    t,r = parts(x, y)
    nt,nr = naive_maav(model, t, layers),naive_maav(model, r, layers)
    scale = {n: torch.maximum(nt[n], nr[n]).max() for n in nt}
    got,one = maav_difference(model, t, r, layers),class_difference(class_means(model,
        batches(x, y, 5), layers), 0)
    for n in layers:
        for s in (got[n], one[n]):
            assert (s.double()-(nt[n]-nr[n])).abs().max() <= 1e-5*scale[n]
            assert s.shape==layers[n].weight.shape
    assert same_state(model.state_dict(), before)

@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=4, max_size=6), st.integers(4, 40),
    st.integers(0, 10**6))
def test_random_mlps(sizes, n, seed):
    torch.manual_seed(seed)
    y = torch.arange(n)%3
    check(mlp(tuple(sizes)), torch.randn(n, sizes[0]), y)

@settings(max_examples=12, deadline=None)
@given(st.sampled_from([1, 2]), st.sampled_from([1, 2]), st.sampled_from([0, 1, 2, 'same']),
    st.sampled_from([1, 2]), st.sampled_from(['zeros', 'reflect', 'circular']), st.booleans(),
    st.integers(0, 10**6))
def test_random_convs(stride, dilation, padding, groups, mode, bias, seed):
    torch.manual_seed(seed)
    if padding=='same': stride = 1
    conv = nn.Conv2d(4, 6, 3, stride, padding, dilation, groups, bias, mode)
    model = nn.Sequential(nn.Conv2d(1, 4, 1), conv, nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(24, 3))
    check(model, torch.randn(9, 1, 9, 8), torch.arange(9)%3, ['1'])

def test_cnn():
    check(cnn(size=8, channels=(3, 4), hidden=(12, 6)), torch.rand(20, 1, 8, 8), torch.arange(20)%4,
        ['3', '7', '9'])

def test_tied_weights_and_reuse():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.m,self.t,self.z = (nn.Linear(5, 5) for _ in range(4))
            self.t.weight = self.m.weight
        def forward(self, x):
            x = self.a(x).relu()
            for _ in range(3): x = self.m(x).relu()
            return self.z(x)
    check(Tied(), torch.randn(20, 5), torch.arange(20)%2)

def test_transformer_positions():
    check(Encoder(11, d_model=16, n_layers=1, n_heads=2, d_ff=24, max_len=6),
        torch.randint(0, 11, (12, 6)), torch.arange(12)%3)

def test_conv1d():
    pytest.importorskip('transformers')
    from transformers.pytorch_utils import Conv1D
    m = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), Conv1D(5, 6), nn.ReLU(), nn.Linear(5, 3))
    check(m, torch.randn(20, 4), torch.arange(20)%3)
    x,y = torch.randn(12, 4),torch.arange(12)%3
    t,r = parts(x, y)
    for name in criteria: assert criteria[name](m, t, r)['2'].shape==(6, 5)

def per_image(model, x, y, loss):
    params = {n: p.detach() for n,p in model.named_parameters()}
    f = lambda p,x,y: loss(functional_call(model, p, x[None]), y[None]).squeeze()
    return vmap(grad(f), (None, 0, 0))(params, x, y)

# the library's one cannot be vectorised over images
def plain_squared_error(o, y): return (o-torch.eye(o.shape[1])[y]).square().sum()

@pytest.mark.parametrize('loss,single', [(F.cross_entropy, F.cross_entropy),
    (squared_error, plain_squared_error)])
def test_gradient_criteria_against_single_images(loss, single):
    torch.manual_seed(0)
    model = mlp((6, 8, 7, 5, 4))
    x,y = torch.randn(30, 6),torch.arange(30)%4
    t,r = parts(x, y)
    g = per_image(model, x, y, single)
    ty,ss = taylor(model, t, r, loss_func=loss),ssd(model, t, r, loss_func=loss)
    mg = per_image(model, x[y==0], y[y==0], lambda o,y: o[:,0]-o[:,1:].mean(1))
    ma = margin(model, t)
    for n in ('3', '5'):
        w,gn = linears(model)[n].weight,g[f'{n}.weight']
        wg = (w*gn).abs()
        close(ty[n], wg[y==0].mean(0)-wg[y!=0].mean(0), 1e-4)
        close(ss[n], gn[y==0].square().mean(0)/gn.square().mean(0).clamp(min=1e-30), 1e-4)
        close(ma[n], w*mg[f'{n}.weight'].mean(0), 1e-4)

def test_output_aware_is_right_on_average():
    torch.manual_seed(0)
    model = mlp((6, 8, 7, 5, 4))
    x,y = torch.randn(40, 6),torch.arange(40)%4
    t,r = parts(x, y)
    B = {}
    for name,m in (('t', y==0), ('r', y!=0)):
        gs = [per_image(model, x[m], y[m], lambda o,y,k=k: o[:,k]) for k in range(4)]
        B[name] = {n: sum(g[f'{n}.weight'].square() for g in gs).mean(0) for n in ('3', '5')}
    got = [output_aware(model, t, r, seed=s) for s in range(150)]
    for n in ('3', '5'):
        want = linears(model)[n].weight.abs()*(B['t'][n].sqrt()-B['r'][n].sqrt())
        mean = torch.stack([g[n] for g in got]).mean(0)
        assert np.corrcoef(mean.detach().flatten(), want.detach().flatten())[0, 1] > 0.97

@pytest.mark.parametrize('name', list(criteria))
def test_criteria_leave_no_trace(name, learn, sevens):
    m = learn.model
    m.train(); m[1].eval()
    m[3].weight.requires_grad_(False)
    calls = []
    m[3].register_forward_hook(lambda *a: calls.append(1))
    modes,state = [c.training for c in m.modules()],copy.deepcopy(m.state_dict())
    with torch.no_grad(): s = criteria[name](m, *sevens)
    with torch.inference_mode(): s2 = criteria[name](m, *sevens)
    assert [c.training for c in m.modules()]==modes and same_state(m.state_dict(), state)
    assert sum(len(c._forward_hooks)+len(c._forward_pre_hooks) for c in m.modules())==1
    assert all(p.grad is None for p in m.parameters())
    for n,v in s.items():
        assert v.shape==linears(m)[n].weight.shape and v.isfinite().all() and torch.equal(v, s2[n])
        assert not v.requires_grad

def test_modes_are_restored_after_an_error(learn):
    m = learn.model.train()
    with pytest.raises(RuntimeError): class_means(m, [(torch.rand(2, 3), torch.tensor([0, 1]))])
    assert m.training and not any(c._forward_hooks for c in m.modules())

@pytest.mark.parametrize('name', ['maav_difference', 'taylor', 'margin'])
def test_nan_inputs_are_an_error(name, learn, sevens):
    t,r = sevens
    bad = [(torch.full((4, 1, 8, 8), float('nan')), torch.full((4,), 7))]
    with pytest.raises(ValueError, match='not finite'): criteria[name](learn.model, bad, r)

def test_inplace_activations(sevens):
    torch.manual_seed(0); a = mlp((64, 12, 10, 8, 10))
    torch.manual_seed(0); b = mlp((64, 12, 10, 8, 10), act=lambda: nn.ReLU(inplace=True))
    for name in criteria:
        for n,v in criteria[name](a, *sevens).items():
            assert torch.allclose(v, criteria[name](b, *sevens)[n], atol=1e-7), name

def test_mean_does_not_notice_set_sizes(learn, sevens):
    t,r = sevens
    a,b = maav_difference(learn.model, t, r),maav_difference(learn.model, t, list(r)*3)
    for n in a: assert torch.allclose(a[n], b[n], atol=1e-6)

def test_unused_layer_is_named(learn, sevens):
    with pytest.raises(ValueError, match='layers=extra took no part'):
        maav_difference(learn.model, *sevens, layers=dict(extra=nn.Linear(2, 2)))

def test_bfloat16_model(learn, sevens):
    a = maav_difference(learn.model, *sevens)
    m = copy.deepcopy(learn.model).bfloat16()
    to = lambda dl: [(x.bfloat16(), y) for x,y in dl]
    b = maav_difference(m, *map(to, sevens))
    for n in a:
        assert b[n].dtype==torch.bfloat16
        assert np.corrcoef(a[n].flatten(), b[n].float().flatten())[0, 1] > 0.99
