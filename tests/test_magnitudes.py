import copy, json
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from torch import nn
from safetensors.torch import save_file
from conftest import same_state
from forgetprune.blocks import ffns
from forgetprune.magnitudes import *
from forgetprune.neurons import *
from forgetprune.pruning import *
from forgetprune.published import *
from forgetprune.networks import Encoder, mlp
from forgetprune.text import *

def lm(**kw):
    l = lm_learner(get_text_dls('the quick brown fox\njumps over the lazy dog\n'*40, bs=4,
        context=16, steps=40, n_valid=50, device='cpu'), d_model=16, n_layers=2, n_heads=2, d_ff=24,
        **kw)
    return l

@pytest.mark.parametrize('kw', [dict(), dict(gated=True, act='silu'),
    dict(ff_bias=False, act='gelu')])
def test_by_hand(kw):
    m = Encoder(20, n_layers=2, d_ff=32, **kw)
    for f,b in zip(ffns(m), m.blocks):
        up = torch.cat([b.ff.up.weight, b.ff.gate.weight], 1) if kw.get('gated') else b.ff.up.weight
        torch.testing.assert_close(magnitudes(f), up.norm(dim=1)*b.ff.down.weight.norm(dim=0))

def _hf():
    from transformers import (
        BertConfig,
        BertModel,
        GPT2Config,
        GPT2Model,
        LlamaConfig,
        LlamaModel,
        T5Config,
        T5Model,
        ViTConfig,
        ViTModel,
    )
    small = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    return {'bert': (BertModel, BertConfig(vocab_size=30, **small), 2, False),
        'square': (BertModel, BertConfig(vocab_size=30, **{**small, 'intermediate_size': 16}), 2,
        False),
            'gpt2': (GPT2Model, GPT2Config(vocab_size=30, n_embd=16, n_layer=2, n_head=2,
            n_inner=24, bos_token_id=0, eos_token_id=0), 2, False),
            't5': (T5Model, T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=24, num_layers=2,
            num_heads=2), 4, False),
            't5 gated': (T5Model, T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=24, num_layers=2,
            num_heads=2, feed_forward_proj='gated-gelu'), 4, True),
            'llama': (LlamaModel, LlamaConfig(vocab_size=30, **small), 2, True),
            'vit': (ViTModel, ViTConfig(image_size=16, patch_size=8, **small), 2, False)}

@pytest.mark.parametrize('name', ['bert', 'square', 'gpt2', 't5', 't5 gated', 'llama', 'vit'])
def test_published_layouts(name, tmp_path):
    cls,config,n,gated = _hf()[name]
    model = cls(config)
    before,training = copy.deepcopy(model.state_dict()),model.training
    blocks = ffns(model)
    assert len(blocks)==n and all((f.gate is not None)==gated for f in blocks)
    assert same_state(before, model.state_dict()) and model.training==training
    assert not any(m._forward_hooks for m in model.modules())
    model.save_pretrained(tmp_path)
    got = checkpoint_magnitudes(tmp_path)
    assert len(got)==n
    for f,m in zip(blocks, got.values()): torch.testing.assert_close(magnitudes(f), m)
    torch.save(model.state_dict(), tmp_path/'w.bin')
    for a,b in zip(checkpoint_magnitudes(tmp_path/'w.bin').values(), got.values()):
        assert torch.equal(a, b)

@pytest.mark.parametrize('bias', [True, False])
def test_the_same_names_the_other_way_round(bias, tmp_path):
    "GPT-Neo and OpenCLIP call an nn.Linear what GPT-2 calls a Conv1D"
    up,down = torch.randn(64, 16),torch.randn(16, 64)
    want = up.norm(dim=1)*down.norm(dim=0)
    more = {'h.0.mlp.c_fc.bias': torch.zeros(64)} if bias else {}
    for n,(u,d) in dict(neo=(up, down), gpt2=(up.T, down.T)).items():
        save_file({'h.0.mlp.c_fc.weight': u.contiguous(), 'h.0.mlp.c_proj.weight': d.contiguous(),
            **more}, tmp_path/f'{n}.safetensors')
        torch.testing.assert_close(checkpoint_magnitudes(tmp_path/f'{n}.safetensors')['h.0'], want)
        torch.testing.assert_close(checkpoint_magnitudes(tmp_path/f'{n}.safetensors',
            'h.*.mlp.c_fc.weight, h.*.mlp.c_proj.weight')['0'], want)

@pytest.mark.parametrize('data', [b'', b'junk', b'PK\x03\x04half', b'\x80\x02}q\x00.'])
def test_corrupt_files_say_so_in_one_line(data, tmp_path):
    for n in ('x.bin', 'x.safetensors', 'x.safetensors.index.json'):
        (tmp_path/n).write_bytes(data)
        with pytest.raises(ValueError,
                match='cannot be read|not a safetensors|not an index|no feed-forward'):
            checkpoint_magnitudes(tmp_path/n)

def test_what_does_not_belong_together(tmp_path):
    m = Encoder(20, n_layers=2, d_ff=32).state_dict()
    save_file(m, tmp_path/'a.safetensors'); save_file(m, tmp_path/'b.safetensors')
    with pytest.raises(ValueError, match='another file beside it'): checkpoint_magnitudes(tmp_path)
    (tmp_path/'model.safetensors.index.json').write_text(
        json.dumps(dict(weight_map={**{n: 'a.safetensors' for n in m},
        'blocks.2.ff.up.weight': 'a.safetensors'})))
    with pytest.raises(ValueError, match='is not whole'): checkpoint_magnitudes(tmp_path)
    save_file({'a.0.up': torch.ones(8, 4), 'a.0.down': torch.ones(4, 8), 'b.0.up': torch.ones(8, 4,
        dtype=torch.int8), 'b.0.down': torch.ones(4, 8)}, tmp_path/'c.safetensors')
    for pattern,said in (('a.*.up, a.*.down, a.*.gate', 'no a.0.gate'),
            ('b.*.up, b.*.down', 'quantised'), ('*.*.up, a.*.down', 'one star'),
            ('a.{x}.*, a.{x}.*', 'no feed-forward')):
        with pytest.raises(ValueError, match=said):
            checkpoint_magnitudes(tmp_path/'c.safetensors', pattern)

def test_parts_and_half_precision(tmp_path):
    m = Encoder(20, n_layers=12, d_ff=32)
    sd = {n: t.bfloat16() for n,t in m.state_dict().items()}
    names = list(sd)
    parts = {'model-00001-of-00002.safetensors': names[::2],
        'model-00002-of-00002.safetensors': names[1::2]}
    for f,ns in parts.items(): save_file({n: sd[n].contiguous() for n in ns}, tmp_path/f)
    (tmp_path/'model.safetensors.index.json').write_text(
        json.dumps(dict(weight_map={n: f for f,ns in parts.items() for n in ns})))
    got = checkpoint_magnitudes(tmp_path)
    assert list(got)==[f'blocks.{i}' for i in range(12)] # 10 after 9
    for f,v in zip(ffns(m), got.values()):
        torch.testing.assert_close(magnitudes(f), v, rtol=2e-2, atol=1e-3)
    (tmp_path/'model-00002-of-00002.safetensors').unlink()
    with pytest.raises(ValueError, match='model-00002'): checkpoint_magnitudes(tmp_path)
    (tmp_path/'model.safetensors.index.json').write_text(
        json.dumps(dict(weight_map={'a': '../evil.safetensors'})))
    with pytest.raises(ValueError, match='not a file beside it'): checkpoint_magnitudes(tmp_path)

def test_nothing_is_executed(tmp_path):
    class Bad:
        def __reduce__(self): return (open, (str(tmp_path/'ran'), 'w'))
    torch.save({'a': Bad()}, tmp_path/'bad.bin')
    with pytest.raises(ValueError, match='weights alone'): checkpoint_magnitudes(tmp_path/'bad.bin')
    assert not (tmp_path/'ran').exists()

def test_clear_errors_of_checkpoints(tmp_path):
    (tmp_path/'x.safetensors').write_bytes(b'no')
    with pytest.raises(ValueError, match='not a safetensors file'):
        checkpoint_magnitudes(tmp_path/'x.safetensors')
    save_file({'a': torch.ones(2)}, tmp_path/'y.safetensors')
    with pytest.raises(ValueError, match='no feed-forward block'):
        checkpoint_magnitudes(tmp_path/'y.safetensors')
    with pytest.raises(ValueError, match='measure='):
        checkpoint_magnitudes(tmp_path/'y.safetensors', measure='max')
    (tmp_path/'empty').mkdir()
    with pytest.raises(ValueError, match='no checkpoint there'):
        checkpoint_magnitudes(tmp_path/'empty')
    with pytest.raises(ValueError, match='neither a file nor a folder'):
        checkpoint_magnitudes('nobody/no-such-model')

@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0., 1e-12, 0.5, 1., 1., 3., 1e6]), min_size=4, max_size=60))
def test_statistics_survive_anything(m):
    s = magnitude_stats(np.array(m))
    assert 0 <= s['dip'] <= 1 and isinstance(s['two'], bool) and s['apart'] >= 0

def test_statistics_refuse_what_is_none():
    for bad in ([1., 2.], [1., -1., 2., 3.], [1., float('nan'), 2., 3.]):
        with pytest.raises(ValueError, match='m: '): magnitude_stats(bad)

def test_recorder_keeps_history_and_changes_nothing():
    a,b = lm(),lm()
    rec = MagnitudeRecorder(10)
    with a.no_bar(), a.no_logging(), b.no_bar(), b.no_logging(): warm_fit(a, cbs=[rec]); warm_fit(b)
    assert same_state(a.model.state_dict(), b.model.state_dict())
    assert rec.steps==[0, 10, 20, 30, 40] and rec.history['blocks.0.ff'].shape==(5, 24)
    np.testing.assert_allclose(rec.history['blocks.1.ff'][-1], magnitudes(ffns(a.model)[1]))
    assert len(rec.table())==10 and len(rec.plot().axes)>=2 and 'http' not in rec.slide()
    with a.no_bar(), a.no_logging(): a.fit(1, 1e-3, cbs=[rec])
    assert rec.steps[-1]==80
    with pytest.raises(ValueError, match='another model'):
        c = lm_learner(a.dls, d_model=16, n_layers=1, n_heads=2, d_ff=24)
        with c.no_bar(), c.no_logging(): c.fit(1, 1e-3, cbs=[rec])
    with pytest.raises(ValueError, match='another model'):
        c = lm_learner(a.dls, d_model=16, n_layers=2, n_heads=2, d_ff=30)
        with c.no_bar(), c.no_logging(): c.fit(1, 1e-3, cbs=[rec])

def test_cut_of_neurons_is_as_if_they_were_not_there():
    m,x = Encoder(20, n_layers=2, d_ff=24, gated=True),torch.randint(20, (3, 8))
    c = neuron_cut(m, {'blocks.0.ff': [1, 5], 'blocks.1.ff': torch.arange(24)})
    before = copy.deepcopy(m.state_dict())
    c.apply(m)
    f = ffns(m)[0]
    assert (magnitudes(f)==0).nonzero().flatten().tolist()==[1, 5]
    other = copy.deepcopy(m); other.load_state_dict(before)
    keep = [i for i in range(24) if i not in (1, 5)]
    ff = other.blocks[0].ff
    ff.up,ff.gate,ff.down = [_part(l, keep, s) for l,s in ((ff.up, 0), (ff.gate, 0), (ff.down, 1))]
    other.blocks[1].ff.down.weight.data.zero_()
    torch.testing.assert_close(m(x), other(x))
    c.undo(m)
    assert same_state(before, m.state_dict())
    mask = torch.zeros(24, dtype=torch.bool); mask[[1, 5]] = True
    a,b = neuron_cut(m, {'blocks.0.ff': mask}),neuron_cut(m, {'blocks.0.ff': [1, 5]})
    assert all(torch.equal(a.indices[n], b.indices[n]) for n in b.indices)
    for bad in (1.5, [1.5], torch.ones(3, dtype=torch.bool), 3):
        with pytest.raises(ValueError, match='neuron numbers'): neuron_cut(m, {'blocks.0.ff': bad})

def _part(l, keep, side):
    new = nn.Linear(len(keep) if side else l.in_features, l.out_features if side else len(keep))
    new.weight.data = l.weight.data.index_select(side, torch.tensor(keep))
    new.bias.data = l.bias.data if side else l.bias.data[keep]
    return new

def test_gradual_pruning_holds_what_it_took():
    for which in ('low', 'high', 'random'):
        l,cb = lm(),GradualPruning(0.5, which, start=5, end=30, every=5)
        with l.no_bar(), l.no_logging(): warm_fit(l, cbs=[cb])
        for f in ffns(l.model):
            assert torch.equal(magnitudes(f)==0, cb.gone[f.name]) and cb.gone[f.name].sum()==12
    with pytest.raises(ValueError, match='select='): GradualPruning(select='lowest')
    with pytest.raises(ValueError, match='must end after'): GradualPruning(start=5, end=5)

def test_activity_against_a_loop():
    l = lm()
    a = activity(l.model, l.dls.valid)
    x = l.dls.valid.tensors[0]
    h = l.model.tok(x)+l.model.pos(torch.arange(16))
    b = l.model.blocks[0]
    h = h+b.attn(b.norm1(h))
    fires = (b.ff.up(b.norm2(h)).relu()>0).float().mean((0, 1))
    np.testing.assert_allclose(a['blocks.0.ff'].fires, fires.detach(), atol=1e-5)

def test_clear_errors():
    with pytest.raises(ValueError, match='no block'): neuron_cut(mlp((4, 5, 2)), {'9': [0]})
    with pytest.raises(ValueError, match='numbered 0 to 4'): neuron_cut(mlp((4, 5, 2)), {'1': [5]})
    with pytest.raises(ValueError, match='hand one in'):
        ffns(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(10, 2)))
    with pytest.raises(ValueError, match='every='): MagnitudeRecorder(0)

def test_figures_of_any_range():
    for m in (np.random.default_rng(0).uniform(4, 9, 100), np.ones(10), np.r_[0, np.ones(9)],
            np.geomspace(1e-6, 1e6, 50)):
        fig = plot_magnitudes({str(i): m for i in range(6)}, ncols=4)
        fig.canvas.draw()
        assert all(any(t.get_text() for t in ax.get_xticklabels()) for ax in fig.axes[2:6])
    with pytest.raises(ValueError, match='no block to draw'): plot_magnitudes({})
    assert magnitude_stats(torch.rand(20, dtype=torch.bfloat16, requires_grad=True))['cv'] > 0

def test_padding_is_no_activity():
    "A text beside a longer one counts as it does alone"
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.words,self.up,self.down = nn.Embedding(9, 4),nn.Linear(4, 6),nn.Linear(6, 4)
        def forward(self, input_ids, attention_mask=None):
            return self.down(self.up(self.words(input_ids)).relu())
    m,ids = Reader(),torch.randint(1, 9, (2, 5))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    apart = [dict(input_ids=ids[:1]), dict(input_ids=ids[1:,:2])]
    a = activity(m, [dict(input_ids=ids, attention_mask=mask)], dict(input_ids=ids))
    b = activity(m, apart, dict(input_ids=ids))
    for n in b: np.testing.assert_allclose(a[n].values, b[n].values, rtol=1e-6)
