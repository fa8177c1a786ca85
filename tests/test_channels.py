"Channels and heads: what belongs to them, cuts of them, scores, and taking them out"
import copy
import pytest, torch
from torch import nn
from torch.utils.data import TensorDataset
from conftest import same_state
from forgetprune.channels import *
from forgetprune.classes import *
from forgetprune.cut import *
from forgetprune.data import *
from forgetprune.layers import *
from forgetprune.networks import *
from forgetprune.neurons import *
from forgetprune.watch import *
from forgetprune.wiring import *
from forgetprune.wiring import handed_on

tv = pytest.importorskip('torchvision.models')

def conv(i, o, size=3, **kw): return nn.Conv2d(i, o, size, padding=size//2, **kw)

class Block(nn.Module):
    "A residual block"
    def __init__(self, i, o, norm=nn.BatchNorm2d):
        super().__init__()
        self.conv1,self.norm1,self.conv2,self.norm2 = conv(i, o),norm(o),conv(o, o),norm(o)
        self.short = conv(i, o, 1) if i!=o else nn.Identity()
    def forward(self, x):
        h = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        return (h+self.short(x)).relu()

def residual(norm=nn.BatchNorm2d):
    return lived(nn.Sequential(conv(1, 4), nn.ReLU(), Block(4, 6, norm), nn.MaxPool2d(2),
        Block(6, 6, norm), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3)), 1)

def lived(m, channels, side=8):
    "Normalisations with statistics and weights of their own, as after a training"
    for l in m.modules():
        if not isinstance(l, (nn.BatchNorm2d, nn.InstanceNorm2d)): continue
        if l.weight is not None: nn.init.normal_(l.weight); nn.init.normal_(l.bias)
        if l.running_mean is not None: nn.init.normal_(l.running_mean)
    return m.eval()

def by_name(m, x=None): return {c.name: c for c in channels_of(m, x)+heads_of(m, x)}

def check(m, chosen, x, shrinks=True):
    "A cut of these channels hands on exactly nothing, is undone to the bit, and can be taken out"
    there,before = by_name(m, x),copy.deepcopy(m.state_dict())
    cut = whole_cut(m, chosen, list(there.values()))
    with cut.on(m), torch.no_grad():
        for n,i in chosen.items():
            assert not handed_on(m, there[n], x)[list(i)].any()
        want = m(x)
        if shrinks: torch.testing.assert_close(shrink(m, chosen, x)(x), want, rtol=0, atol=1e-5)
    assert same_state(m.state_dict(), before)
    cut.apply(m)
    assert not same_state(m.state_dict(), before)
    cut.undo(m)
    assert same_state(m.state_dict(), before)
    with torch.no_grad(): assert not torch.equal(m(x), want) # it did something
    return cut

def test_channels_through_a_residual_stream():
    m,x = residual(),torch.rand(3, 1, 8, 8)
    there = by_name(m)
    assert {n: len(c) for n,c in there.items()}=={'0': 4, '2.conv1': 6, '2.conv2': 6, '4.conv1': 6}
    cut = check(m, {'2.conv2': [1, 4], '4.conv1': [0], '0': [3]}, x)
    assert {'2.norm2', '2.norm2.bias', '4.conv2.bias', '2.short', '7'} <= set(cut.indices)
    with cut.on(m), torch.no_grad(): # bias and normalisation included, in the stream itself
        assert not m[:3](x)[:,[1, 4]].any() and not m[:5](x)[:,[1, 4]].any()
        assert m[:3](x)[:,[0, 2, 3, 5]].any()

def test_cuts_go_to_a_file_and_together(tmp_path):
    m = residual()
    before = copy.deepcopy(m.state_dict())
    a,b = whole_cut(m, {'2.conv1': [0]}, target=7),whole_cut(m, {'2.conv2': [5]})
    (a | b).save(tmp_path/'cut.safetensors')
    back = Cut.load(tmp_path/'cut.safetensors')
    both = whole_cut(m, {'2.conv1': [0], '2.conv2': [5]})
    assert len(back)==len(both) and all(torch.equal(back.indices[n], i)
        for n,i in both.indices.items())
    back.undo(back.apply(m))
    assert same_state(m.state_dict(), before)
    masked = a.to_torch_prune(copy.deepcopy(m))
    x = torch.rand(2, 1, 8, 8)
    with a.on(m): assert torch.equal(masked(x), m(x))

@pytest.mark.parametrize('norm', [lambda n: nn.BatchNorm2d(n, affine=False), nn.Identity,
    lambda n: nn.BatchNorm2d(n, track_running_stats=False),
    lambda n: nn.InstanceNorm2d(n, affine=True)])
def test_other_normalisations(norm):
    m = residual(norm)
    check(m, {'2.conv2': [1, 4], '4.conv1': [0]}, torch.rand(3, 1, 8, 8))

def test_grouped_and_depthwise():
    m = lived(nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 8, groups=8),
        nn.BatchNorm2d(8), conv(8, 12, groups=2), nn.ReLU6(), conv(12, 12, groups=4),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(12, 3)), 3)
    x,there = torch.rand(2, 3, 8, 8),by_name(m)
    assert {n: c.names('out') for n,c in there.items()}=={'0': ['0', '3'], '5': ['5'], '7': ['7']}
    check(m, {'0': [1, 6]}, x) # one in each of the two groups that take them in
    check(m, {'5': [0, 4, 8, 11], '7': [2, 4, 6, 9]}, x)
    check(m, {'0': [1, 2]}, x, shrinks=False)
    with pytest.raises(ValueError, match='equally many'): shrink(m, {'0': [1, 2]})

def test_depthwise_with_more_filters_than_channels():
    m = nn.Sequential(conv(3, 4), conv(4, 8, groups=4), nn.Flatten(), nn.Linear(8*16, 2)).eval()
    x = torch.rand(2, 3, 4, 4)
    c = by_name(m, x)['0']
    assert len(c)==4 and c.names('out')==['0', '1'] # a channel and what is made of it alone
    check(m, {'0': [0, 3]}, x)

def test_side_by_side():
    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b,self.c,self.d = conv(1, 3),conv(3, 2),conv(5, 4),nn.Linear(9, 2)
        def forward(self, x):
            x = self.a(x).relu()
            x = torch.cat([x, self.b(x).relu()], 1)
            return self.d(torch.cat([self.c(x), x], 1).mean((2, 3)))
    m = Dense()
    assert {n: c.names('in') for n,c in by_name(m).items()}=={'a': ['b', 'c', 'd'],
        'b': ['c', 'd'], 'c': ['d']}
    check(m, {'a': [1], 'b': [0], 'c': [3]}, torch.rand(2, 1, 6, 6))

def test_a_module_that_is_used_twice():
    class Again(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b,self.c = conv(1, 4),conv(4, 4),nn.Linear(4, 2)
        def forward(self, x): return self.c(self.b(self.b(self.a(x)).relu()).relu().mean((2, 3)))
    m = Again()
    c = by_name(m)['a']
    assert c.names('out')==['a', 'b'] and c.names('in')==['b', 'c'] # one and the same channel
    check(m, {'a': [2]}, torch.rand(2, 1, 6, 6))

def test_a_gate_for_each_channel():
    m = tv.mobilenet_v3_small(num_classes=3).eval() # squeeze and excitation
    lived(m, 3)
    there = [c for c in by_name(m).values() if not c.why]
    assert len(there) > 20
    check(m, {there[-1].name: [0, 9], there[4].name: [1]}, torch.rand(1, 3, 32, 32))

@pytest.mark.parametrize('name', ['densenet121', 'googlenet'])
@pytest.mark.slow
def test_published_architectures(name):
    m = getattr(tv, name)(num_classes=3, **dict(init_weights=True) if name=='googlenet' else {})
    m = lived(m, 3)
    there = list(by_name(m).values())
    check(m, {c.name: [0, len(c)-1] for c in there[3:6]}, torch.rand(1, 3, 64, 64))

def why(*layers): return [c.why for c in channels_of(nn.Sequential(*layers))]

def test_what_is_not_known_is_refused_by_name():
    got = why(conv(1, 4), nn.ConvTranspose2d(4, 2, 3), conv(2, 2))
    assert got==['conv_transpose2d mixes them with others', 'they are outputs of the model']
    got = why(conv(1, 4), nn.GroupNorm(2, 4), conv(4, 2))
    assert got[0]=='a normalisation of groups mixes them'
    assert why(conv(1, 4), nn.Softmax(1), conv(4, 2))[0]=='softmax mixes them with others'
    class Adds(nn.Module):
        def __init__(self): super().__init__(); self.a,self.b = conv(1, 1),nn.Linear(1, 2)
        def forward(self, x): return self.b((self.a(x)+x).mean((2, 3)))
    assert 'no layer makes' in channels_of(Adds())[0].why
    class Writes(nn.Module):
        def __init__(self): super().__init__(); self.a,self.b = conv(1, 2),conv(2, 2)
        def forward(self, x):
            x = self.a(x)
            x[:,0] = 1
            return self.b(x).mean((2, 3))
    assert channels_of(Writes())[0].why=='a part of them is written over'
    class Computes(nn.Module):
        def __init__(self): super().__init__(); self.a,self.b = conv(1, 2),conv(2, 2)
        def forward(self, x):
            return nn.functional.conv2d(self.a(x), 2*self.b.weight).mean((2, 3))
    assert 'computes its weight' in channels_of(Computes())[0].why

def test_errors_name_what_is_wrong():
    m = residual()
    with pytest.raises(ValueError, match='nothing is called .9.; there are 0, 2.conv1'):
        whole_cut(m, {'9': [0]})
    with pytest.raises(ValueError, match='numbered 0 to 3, not 0 to 4'): whole_cut(m, {'0': [0, 4]})
    with pytest.raises(ValueError, match='a mask of 4 truth'): whole_cut(m, {'0': [True]})
    with pytest.raises(ValueError, match='all 4 channels would go'): shrink(m, {'0': range(4)})
    with pytest.raises(ValueError, match='does not run on this input'):
        channels_of(m, torch.rand(2, 3, 8, 8))
    t = nn.Sequential(conv(1, 4), nn.ConvTranspose2d(4, 2, 3))
    with pytest.raises(ValueError, match='cannot be cut whole: conv_transpose2d'):
        whole_cut(t, {'0': [1]})
    with pytest.raises(ValueError, match='no channels that can be cut'): deep_channels(t)

def test_what_cannot_be_taken_out_says_why():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b = conv(1, 4),nn.Linear(4, 2)
            self.shift = nn.Parameter(torch.rand(4, 1, 1))
        def forward(self, x): return self.b((self.a(x)+self.shift).mean((2, 3)))
    m = Shifted()
    check(m, {'a': [1]}, torch.rand(2, 1, 6, 6), shrinks=False)
    with pytest.raises(ValueError, match='cannot be taken out: a tensor of the model'):
        shrink(m, {'a': [1]})
    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b,self.c = conv(1, 4),conv(2, 2),nn.Linear(4, 2)
        def forward(self, x):
            x,y = self.a(x).relu().chunk(2, 1)
            return self.c(torch.cat([self.b(x), y], 1).mean((2, 3)))
    m = Halves()
    nn.init.uniform_(m.a.weight)
    check(m, {'a': [0]}, torch.rand(2, 1, 6, 6), shrinks=False)
    with pytest.raises(ValueError, match='cannot be taken out'): shrink(m, {'a': [0]})

# ---- scores, on a network whose answer is known

class Colours(nn.Module):
    "Class c is colour c; each channel sees one colour, and each output reads one channel"
    def __init__(self, n=4):
        super().__init__()
        self.eye,self.norm,self.look = nn.Conv2d(n, n, 1),nn.BatchNorm2d(n),conv(n, n)
        self.last = nn.Linear(n, n)
        with torch.no_grad():
            for p in self.parameters(): p.zero_()
            for i in range(n):
                self.eye.weight[i,i] = self.look.weight[i,i,1,1] = self.last.weight[i,i] = 1
            self.norm.weight.fill_(1)
            self.norm.bias.fill_(0.05)
            self.last.weight -= 0.1
    def forward(self, x):
        return self.last(self.look(self.norm(self.eye(x)).relu()).relu().mean((2, 3)))

@pytest.fixture
def colours():
    y = torch.arange(40)%4
    x = torch.rand(40, 1, 5, 5)*torch.eye(4)[y][:,:,None,None]
    return Colours().eval(),TensorDL(TensorDataset(x, y), bs=16)

@pytest.mark.parametrize('name', ['activation', 'contribution', 'tfidf', 'maav_difference',
    'taylor', 'margin'])
def test_the_channel_of_a_class_is_found(colours, name):
    m,dl = colours
    there = channels_of(m)
    for c in (0, 2):
        t,r = class_split(dl, c)
        s = channel_scores(name, m, t, r, there)
        assert [v.argmax().item() for v in s.values()]==[c, c]
        curve = channel_curve(m, s, [0, 0.25], dl, c, there)
        assert curve.n.tolist()==[0, 2]
        assert curve.target.tolist()==[1, 0] and curve.retain.tolist()==[1, 1]

def test_controls_leave_the_class(colours):
    m,dl = colours
    t,r = class_split(dl, 0)
    there = channels_of(m)
    with torch.no_grad(): m.eye.weight[3] *= 1.5
    s = channel_scores('magnitude', m, t, r, there)
    assert s['eye'].argmax()==3 and torch.allclose(s['eye'], torch.tensor([1, 1, 1, 1.5]))
    assert channel_curve(m, s, [0.25], dl, 3, there).target.tolist()==[0]
    a,b = [channel_scores('random', m, t, r, there, seed=i) for i in (0, 1)]
    assert torch.equal(a['eye'], channel_random(m, there=there)['eye'])
    assert not torch.equal(a['eye'], b['eye'])

def test_scores_say_what_is_wrong(colours):
    m,dl = colours
    t,r = class_split(dl, 0)
    with pytest.raises(ValueError, match="criterion='nobody' is unknown; there are"):
        channel_scores('nobody', m, t, r)
    with pytest.raises(ValueError, match='one class and others'): channel_tfidf(m, t, t)

# ---- heads

def test_heads_of_our_encoder():
    m = Encoder(30, d_model=16, n_heads=4, n_layers=2, d_ff=20)
    x = torch.randint(30, (2, 6))
    check(m, {'blocks.0.attn': [0, 2], 'blocks.1.attn': [3]}, x)

def test_heads_of_a_picture_transformer():
    m = tv.VisionTransformer(32, 8, 2, 4, 16, 32, num_classes=3).eval()
    nn.init.normal_(m.heads.head.weight)
    for l in m.modules():
        if isinstance(l, nn.MultiheadAttention): nn.init.normal_(l.in_proj_bias)
    h = heads_of(m)
    assert [(len(a), len(a.parts)) for a in h]==[(4, 3), (4, 3)]
    with pytest.raises(ValueError, match='derives the width of a head'): shrink(m, {h[0].name: [1]})
    before = copy.deepcopy(m.state_dict())
    dls = [TensorDL(TensorDataset(torch.rand(6, 3, 32, 32)*s, torch.zeros(6).long()), bs=4)
        for s in (1, 0.1)]
    cut = whole_cut(m, {h[0].name: [1], h[1].name: [0, 3]})
    with cut.on(m):
        got = head_contribution(m, *dls)
        assert got[h[0].name][1]==0 and not got[h[1].name][[0, 3]].any()
        assert got[h[0].name][[0, 2, 3]].all()
    assert same_state(m.state_dict(), before)

@pytest.mark.parametrize('how', ['sdpa', 'eager'])
def test_heads_of_transformers(how):
    tr = pytest.importorskip('transformers')
    small = dict(hidden_size=16, num_hidden_layers=2, intermediate_size=32,
        attn_implementation=how)
    gpt = tr.GPT2LMHeadModel(tr.GPT2Config(n_layer=2, n_embd=16, n_head=4, vocab_size=50,
        n_positions=16, bos_token_id=1, eos_token_id=1, attn_implementation=how)).eval()
    bert = tr.BertForSequenceClassification(tr.BertConfig(vocab_size=50, num_attention_heads=4,
        **small)).eval()
    vit = tr.ViTForImageClassification(tr.ViTConfig(num_attention_heads=4, image_size=32,
        patch_size=8, **small)).eval()
    ids,pictures = torch.randint(50, (2, 6)),torch.rand(2, 3, 32, 32)
    for m,x in ((gpt, ids), (bert, ids), (vit, pictures)):
        torch.manual_seed(1)
        for p in m.parameters(): nn.init.normal_(p, std=0.2)
        h = heads_of(m, x)
        assert [len(a) for a in h]==[4, 4]
        before = copy.deepcopy(m.state_dict())
        chosen = {h[0].name: [1, 2], h[1].name: [0, 1]}
        cut = whole_cut(m, chosen, h)
        with cut.on(m), torch.no_grad():
            want = m(x).logits
            assert not handed_on(m, h[0], x)[[1, 2]].any()
            if how=='sdpa':
                with pytest.warns(UserWarning, match='from_pretrained'): few = shrink(m, chosen, x)
                torch.testing.assert_close(few(x).logits, want, rtol=1e-4, atol=1e-4)
        assert same_state(m.state_dict(), before)
        with torch.no_grad(): assert not torch.allclose(m(x).logits, want)

def test_heads_that_share_keys_and_values():
    tr = pytest.importorskip('transformers')
    m = tr.LlamaForCausalLM(tr.LlamaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=32)).eval()
    h, = heads_of(m)
    assert len(h)==4 and [p.what for p in h.parts]==['in'] # the values serve another head
    x = torch.randint(50, (2, 6))
    with whole_cut(m, {h.name: [1]}, [h]).on(m):
        assert handed_on(m, h, x).bool().tolist()==[True, False, True, True]
    with pytest.raises(ValueError, match='share keys and values'): shrink(m, {h.name: [1]}, x)

def test_the_head_of_a_class_is_found():
    "Values of one head see the tokens of the class only"
    m = Encoder(8, d_model=8, n_heads=2, n_layers=1, d_ff=8, emb_std=1.)
    with torch.no_grad():
        m.blocks[0].norm1.weight.fill_(1)
        a = m.blocks[0].attn
        a.qkv.weight.zero_(); a.qkv.bias.zero_()
        m.tok.weight[:4,0] += 9 # tokens of the class
        a.qkv.weight[20,0] = 1 # a value of head 1
    t,r = [TensorDL(TensorDataset(torch.randint(lo, lo+4, (6, 5)), torch.zeros(6)), bs=4)
        for lo in (0, 4)]
    s, = head_contribution(m, t, r).values()
    assert s[0]==0 and s[1] > 0.05

def test_padding_is_no_text():
    tr = pytest.importorskip('transformers')
    m = tr.BertForSequenceClassification(tr.BertConfig(vocab_size=50, hidden_size=16,
        num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)).eval()
    ids = torch.randint(1, 50, (4, 6))
    y = torch.zeros(4).long()
    batch = lambda ids, mask: [dict(input_ids=ids, attention_mask=mask, labels=y)]
    plain = batch(ids, torch.ones(4, 6).long())
    longer = batch(torch.cat([ids, torch.zeros(4, 3).long()], 1),
        torch.cat([torch.ones(4, 6), torch.zeros(4, 3)], 1).long())
    other = batch(torch.randint(1, 50, (4, 6)), torch.ones(4, 6).long())
    a,b = [list(head_contribution(m, t, other).values())[0] for t in (plain, longer)]
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
