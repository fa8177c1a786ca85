import json
import pytest, torch
from torch import nn
from forgetprune.layers import *
from forgetprune.blocks import *
from forgetprune.networks import *
from forgetprune.training import *

def test_gpt2_conv1d():
    "The real thing: Hugging Face's transposed Conv1D, with the head tied to the embedding"
    tr = pytest.importorskip('transformers')
    m = tr.GPT2LMHeadModel(tr.GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=50,
        n_positions=16))
    names = list(linears(m))
    assert names[:4]==[f'transformer.h.0.{n}' for n in ('attn.c_attn', 'attn.c_proj', 'mlp.c_fc',
        'mlp.c_proj')] and names[-1]=='lm_head'
    assert list(inner(m))==names[:-1]

def test_nested_and_reused():
    shared = nn.Linear(4, 4)
    m = nn.Sequential(nn.Linear(4, 4), nn.Sequential(shared, nn.ReLU(), shared), nn.Linear(4, 2))
    assert list(linears(m))==['0', '1.0', '2'] and list(inner(m))==['1.0']

def test_untraceable_model_falls_back_to_assignment_order():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b,self.c = nn.Linear(2, 2),nn.Linear(2, 2),nn.Linear(2, 2)
        def forward(self, x): return self.c(self.b(x) if x.sum()>0 else self.a(x))
    assert list(linears(Branch()))==['a', 'b', 'c']

def test_containers_of_torch():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    m = nn.Sequential(nn.Linear(4, 8), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        nn.Linear(8, 3))
    assert '1.layers.0.linear1' in inner(m) and '1.layers.1.linear2' in inner(m)
    assert '0' not in inner(m) and '2' not in inner(m)

def test_no_side_effects():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__(); self.a,self.b,self.h = nn.Linear(2, 2),nn.Linear(2, 2),None
        def forward(self, x): self.h = self.a(x); self.extra = 1; return self.b(self.h)
    m = Keeps(); linears(m)
    assert m.h is None and not hasattr(m, 'extra')

def test_hooks_neither_fire_nor_vanish():
    m,calls = mlp((4, 5, 3, 2)),[]
    for l in m:
        l.register_forward_hook(lambda *a: calls.append(1))
        l.register_forward_pre_hook(lambda *a: calls.append(1))
    m.register_forward_hook(lambda *a: calls.append(1))
    linears(m), inner(m)
    assert not calls
    m(torch.rand(1, 4))
    assert len(calls)==2*len(m)+1

def test_single_layer_and_none():
    assert list(linears(nn.Linear(2, 2)))==[''] and inner(nn.Linear(2, 2))=={}
    assert linears(nn.ReLU())=={}

def test_state_dict_and_mode_untouched():
    m = mlp((4, 5, 3, 2)); m[1].eval()
    before = list(m.state_dict()),[c.training for c in m.modules()]
    linears(m), inner(m)
    assert (list(m.state_dict()),[c.training for c in m.modules()])==before

def test_model_files(tmp_path):
    m = cnn(size=8, channels=(2, 3), hidden=(5, 4))
    save_model(m, tmp_path/'m.safetensors', arch=dict(name='cnn', size=8, channels=(2, 3),
        hidden=(5, 4)))
    back,about = load_model(tmp_path/'m.safetensors')
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(m(x), back(x)) and about['arch']['name']=='cnn'
    torch.save(m, tmp_path/'pickle.pt')
    with pytest.raises(ValueError, match='not a safetensors file'): load_model(tmp_path/'pickle.pt')
    with pytest.raises(FileNotFoundError, match='there is no such file'):
        load_model(tmp_path/'none')
    assert sorted(p.name for p in tmp_path.iterdir())==['m.safetensors', 'pickle.pt']

class _Stream(nn.Module):
    "Blocks that add to a stream, without norms"
    def __init__(self, k):
        super().__init__()
        self.inp,self.ffs,self.head = nn.Linear(20, 8),nn.ModuleList([FeedForward(8, 16)
            for _ in range(k)]),nn.Linear(8, 10)
    def forward(self, x):
        h = self.inp(x)
        for f in self.ffs: h = h+f(h)
        return self.head(h)

@pytest.mark.parametrize('k', [1, 2, 3])
def test_a_residual_stream_is_no_block(k):
    assert [f.name for f in ffns(_Stream(k))]==[f'ffs.{i}' for i in range(k)]

def test_which_one_is_the_gate():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b,self.down = nn.Linear(4, 6),nn.Linear(4, 6),nn.Linear(6, 2)
        def forward(self, x):
            u = self.b(x)
            return self.down(nn.functional.silu(self.a(x))*u)
    m = Gated()
    f, = ffns(m)
    assert f.gate is m.a and f.up is m.b

tv = pytest.importorskip('torchvision.models')

@pytest.mark.parametrize('name,begin,n', [('resnet18', 'layer4.0.conv1', 5),
    ('densenet121', 'features.denseblock4.denselayer1.conv1', 32), ('vgg11', 'classifier.0', 2),
    ('convnext_tiny', 'features.6.1', 10)])
def test_deep_layers_are_those_on_the_last_map(name, begin, n):
    d = list(default_layers(getattr(tv, name)(num_classes=3)))
    assert d[0]==begin and len(d)==n

def test_a_picture_transformer_is_deep_all_over():
    m = tv.VisionTransformer(32, 8, 2, 2, 16, 32) # its class token makes no finer map
    assert default_layers(m)==inner(m) and len(inner(m))==4 # nobody calls `out_proj`

def test_layers_that_are_not_used_are_not_cut():
    m = tv.googlenet(init_weights=False)
    assert not [n for n in default_layers(m) if n.startswith('aux')]

def test_a_learner_of_pictures_is_left_more_than_its_head():
    vision = pytest.importorskip('fastai.vision.all')
    d = list(default_layers(vision.create_vision_model(tv.resnet18, 3, pretrained=False)))
    assert d[0]=='0.7.0.conv1' and d[-1]=='1.4' and len(d)==6

def test_a_model_that_looks_at_numbers_is_run_with_them():
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b = nn.Conv2d(1, 2, 3, 2, 1),nn.Conv2d(2, 2, 3, 2, 1)
            self.c,self.d = nn.Conv2d(2, 2, 3, 1, 1),nn.Linear(2, 2)
        def forward(self, x):
            if x.sum().item() > 1e9: return x
            return self.d(self.c(self.b(self.a(x))).mean((2, 3)))
    assert list(default_layers(Looks()))==['b', 'c']

def test_where_no_picture_fits_convolutions_are_left_alone():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b,self.c = nn.Conv2d(1, 2, 3),nn.Conv2d(2, 2, 3),nn.Linear(2*3*7, 4)
            self.d = nn.Linear(4, 2)
        def forward(self, x): return self.d(self.c(self.b(self.a(x)).flatten(1)))
    m = Odd() # reads pictures of 7 by 11
    assert list(default_layers(m))==['c']

def test_a_dry_run_leaves_no_trace():
    m = tv.resnet18(num_classes=3).train()
    m.fc.eval()
    m.layer1.register_forward_hook(lambda *a: 1/0)
    before = {n: t.clone() for n,t in m.state_dict().items()}
    modes,r = [c.training for c in m.modules()],torch.get_rng_state()
    default_layers(m)
    assert [c.training for c in m.modules()]==modes and torch.equal(r, torch.get_rng_state())
    assert all(torch.equal(t, before[n]) for n,t in m.state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled() and len(m.layer1._forward_hooks)==1

def test_a_dry_run_of_shared_modules():
    "One module in two places, one weight in two modules: all tensors are what they were"
    m = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, 2), nn.Conv2d(4, 4, 3), nn.Flatten(),
        nn.Linear(4*11**2, 4), nn.Linear(4, 4))
    m[2] = m[1]
    m[4] = nn.Sequential(nn.AdaptiveAvgPool1d(4), m[5])
    m[5].weight = m[4][1].weight
    before = {n: p for n,p in m.named_parameters()}
    default_layers(m)
    assert all(p is before[n] and p.device.type=='cpu' for n,p in m.named_parameters())
    assert all(isinstance(p, nn.Parameter) for p in m.parameters())
    x = torch.rand(2, 1, 28, 28)
    assert m(x).shape==(2, 4)

def test_a_note_that_announces_more_than_there_is(tmp_path):
    "Nothing is built that the tensors of the file cannot fill"
    import resource
    from safetensors.torch import save_file
    from forgetprune.networks import load_model
    def rss(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = rss()
    for arch in (dict(name='mlp', sizes=(784, 24_000, 24_000, 10)), dict(name='cnn', size=40_000),
            dict(name='encoder', vocab_sz=10, n_layers=10**7), dict(name='encoder', vocab_sz=10,
            n_heads=0), dict(name=['mlp']), dict(name='mlp', sizes=5), dict(name='mlp', size=3)):
        save_file({'1.weight': torch.zeros(100, 10)}, tmp_path/'m',
            metadata=dict(forgetprune=json.dumps(dict(arch=arch))))
        with pytest.raises(ValueError, match='do not fit its note|how its model is built'):
            load_model(tmp_path/'m')
    assert rss()-before < 200_000 # kB

def test_a_network_comes_back_as_it_was(tmp_path):
    "Its type too; and not if its file was written over in part"
    from forgetprune.networks import load_model, save_model
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        m = mlp((40, 30, 20, 3)).to(dtype)
        save_model(m, tmp_path/'m', arch=dict(name='mlp', sizes=(40, 30, 20, 3)), seed=0)
        back,about = load_model(tmp_path/'m')
        assert about['seed']==0 and all(t.dtype==dtype for t in back.state_dict().values())
        assert all(map(torch.equal, m.state_dict().values(), back.state_dict().values()))
    b = (tmp_path/'m').read_bytes()
    (tmp_path/'m').write_bytes(b[:2000]+bytes(4096)+b[6096:])
    with pytest.raises(ValueError, match='is damaged'): load_model(tmp_path/'m')

def test_tied_weights_are_written_and_read(tmp_path):
    "Two names for one tensor, and for parts of one: each comes back, and the file is the same"
    from forgetprune.networks import read_noted, save_model
    def tied():
        m = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 7, bias=False), nn.Linear(3, 2))
        m[1].weight = m[0].weight
        m.register_buffer('part', m[0].weight.detach()[:2])
        return m
    m = tied()
    for f in ('a', 'b'): save_model(m, tmp_path/f, arch=dict(name='somebody\'s'))
    assert (tmp_path/'a').read_bytes()==(tmp_path/'b').read_bytes()
    _,weights = read_noted(tmp_path/'a', checked=True)
    assert set(weights)=={'0.weight', '1.weight', '2.weight', '2.bias', 'part'}
    for n,t in m.state_dict().items(): assert torch.equal(t, weights[n])
    again = tied()
    again.load_state_dict(weights)
    assert again[0].weight is again[1].weight and torch.equal(again[0].weight, m[0].weight)
