"Language models: what may be cut, neurons, really smaller, perplexity, relearning"
import copy, math
import pytest, torch
from torch import nn
from hypothesis import given, settings, strategies as st
from conftest import same_state
transformers = pytest.importorskip('transformers')
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)
from forgetprune.cut import KeepCut, largest
from forgetprune.rivals import criteria, get_scores
from forgetprune.blocks import ffns
from forgetprune.lm import *
from forgetprune.reading import *
from forgetprune.neurons import *
from forgetprune.neurons import neuron_cut
from forgetprune.networks import Encoder

def gpt2(**kw):
    return GPT2LMHeadModel(GPT2Config(**{**dict(vocab_size=40, n_positions=16, n_embd=16, n_layer=2,
        n_head=2, bos_token_id=0, eos_token_id=0), **kw}))
makers = dict(
    gpt2=gpt2, untied=lambda: gpt2(tie_word_embeddings=False),
    bert=lambda: BertForMaskedLM(BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2,
    num_attention_heads=2, intermediate_size=24, max_position_embeddings=16)),
    t5=lambda: T5ForConditionalGeneration(T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=24,
    num_layers=2, num_heads=2, decoder_start_token_id=0)),
    t5_gated=lambda: T5ForConditionalGeneration(T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=24,
    num_layers=2, num_heads=2, decoder_start_token_id=0, feed_forward_proj='gated-gelu')),
    llama=lambda: LlamaForCausalLM(LlamaConfig(vocab_size=40, hidden_size=16, intermediate_size=24,
    num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=16)),
    ours=lambda: Encoder(40, d_model=16, n_heads=2, n_layers=2, d_ff=24, max_len=16, causal=True),
    ours_gated=lambda: Encoder(40, d_model=16, n_heads=2, n_layers=2, d_ff=24, max_len=16,
    gated=True, act='silu'))
def make(name, seed=0):
    torch.manual_seed(seed)
    return makers[name]().eval()
def words(seed, n=200):
    return torch.randint(1, 40, (n,), generator=torch.Generator().manual_seed(seed))
def pieces(name, seed=0):
    dl = text_pieces(words(seed), 8, bs=4)
    return [dict(input_ids=x, labels=x) for x,_ in dl] if name.startswith('t5') else dl
def logits(m, name):
    x = words(9, 16).view(2, 8)
    with torch.no_grad(): out = m(input_ids=x, labels=x) if name.startswith('t5') else m(x)
    return getattr(out, 'logits', out)

@pytest.mark.parametrize('name', makers)
def test_neither_embedding_nor_head(name):
    m = make(name)
    cut = body_layers(m)
    ends = {id(p) for e in ((m.get_input_embeddings(), m.get_output_embeddings())
        if hasattr(m, 'get_input_embeddings') else (m.tok, m.head)) for p in e.parameters()}
    assert cut and not any(id(l.weight) in ends for l in cut.values())
    assert not any(n.startswith(('cls.', 'lm_head', 'head')) for n in cut)
    assert {id(l) for f in ffns(m) for l in (f.up, f.down)} <= {id(l) for l in cut.values()}

@pytest.mark.parametrize('name', makers)
@pytest.mark.parametrize('criterion', criteria)
def test_every_criterion_and_back_to_the_bit(name, criterion):
    m = make(name)
    before = copy.deepcopy(m.state_dict())
    s = get_scores(criterion, m, pieces(name, 1), pieces(name, 2), body_layers(m),
        loss_func=lm_loss)
    cut = largest(m, s, 0.2)
    cut.apply(m)
    assert not same_state(before, m.state_dict())
    cut.undo(m)
    assert same_state(before, m.state_dict())

def test_scores_are_those_of_the_definition():
    m = make('gpt2')
    t,r = pieces('', 1),pieces('', 2)
    n,l = list(body_layers(m).items())[3]
    seen = []
    h = l.register_forward_hook(lambda l,i,o: seen.append(i[0].detach().flatten(0, 1)))
    means = []
    with torch.no_grad():
        for dl in (t, r):
            seen.clear(); [m(x) for x,_ in dl]; means.append(torch.cat(seen).abs().mean(0))
    h.remove()
    want = l.weight.detach().abs()*(means[0]-means[1])[:,None] # Conv1D: inputs first
    assert torch.allclose(criteria['maav_difference'](m, t, r, [n])[n], want, atol=1e-6)
    assert torch.equal(streamed(m, t, r)[n], criteria['maav_difference'](m, t, r,
        body_layers(m))[n])

@pytest.mark.parametrize('criterion', ['maav_difference', 'taylor', 'margin'])
def test_padding_is_skipped(criterion):
    "A padded batch gives what its items give alone, without padding"
    m = make('bert').double()
    long,short = words(1, 16).view(2, 8),words(3, 5).view(1, 5)
    padded = torch.cat([long, torch.nn.functional.pad(short, (0, 3))])
    mask = torch.ones_like(padded); mask[2,5:] = 0
    batch = dict(input_ids=padded, attention_mask=mask, labels=padded.masked_fill(mask==0, -100))
    alone = [dict(input_ids=long, labels=long), dict(input_ids=short, labels=short)]
    rest = [dict(input_ids=words(5, 16).view(2, 8), labels=words(5, 16).view(2, 8))]
    of = lambda target: get_scores(criterion, m, target, rest, body_layers(m), loss_func=lambda o,y,
        reduction='mean': per_item(o, y))
    a,b = of([batch]),of(alone)
    for n in a: assert torch.allclose(a[n], b[n], rtol=1e-4, atol=1e-7), n

@pytest.mark.parametrize('criterion', ['maav_difference', 'taylor', 'margin', 'output_aware'])
def test_what_is_padded_does_not_matter(criterion):
    m,t = make('bert').double(),words(1, 16).view(2, 8)
    mask = torch.ones_like(t); mask[1,5:] = 0
    def of(ids):
        b = dict(input_ids=ids, attention_mask=mask, labels=t.masked_fill(mask==0, -100))
        rest = [dict(input_ids=words(5, 16).view(2, 8), labels=words(5, 16).view(2, 8))]
        return get_scores(criterion, m, [b], rest, body_layers(m),
            loss_func=lambda o,y,reduction='mean': per_item(o, y))
    a,b = of(t),of(t.masked_fill(mask==0, 7))
    for n in a: assert torch.allclose(a[n], b[n], rtol=1e-6, atol=1e-9), n

def per_item(out, y): return lm_loss(out, y, 'none').view(len(y), -1).sum(1)

def test_encoder_and_decoder_padded_alike_is_ambiguous():
    m,x = make('t5'),words(1, 16).view(2, 8)
    masks = [torch.ones_like(x) for _ in range(2)]
    masks[0][0,-1] = 0; masks[1][1,-1] = 0
    batch = dict(input_ids=x, attention_mask=masks[0], decoder_input_ids=x,
        decoder_attention_mask=masks[1])
    with pytest.raises(ValueError, match='pad them to different lengths'):
        criteria['maav_difference'](m, [batch], [batch], body_layers(m))

@pytest.mark.slow
@pytest.mark.parametrize('c', ['taylor', 'ssd', 'output_aware'])
def test_half_precision_does_not_wear_out(c):
    t,r = pieces('', 1),pieces('', 2)
    class Often:
        "The same batches, over and over"
        def __iter__(self):
            for _ in range(75): yield from r # 525 batches; sums in bfloat16 stop after some 256
    m,wide = make('gpt2').bfloat16(),make('gpt2')
    got,want = [get_scores(c, l, t, Often(), body_layers(l), loss_func=lm_loss) for l in (m, wide)]
    for n in want: assert (got[n].float()-want[n]).abs().max() < 0.1*want[n].abs().max()

def test_experts_are_not_left_out_in_silence():
    from transformers import MixtralConfig, MixtralForCausalLM
    m = MixtralForCausalLM(MixtralConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, intermediate_size=24,
        max_position_embeddings=16, num_local_experts=2))
    if any(p.ndim > 2 for p in m.parameters()):
        with pytest.warns(UserWarning, match='neither scored nor cut'): body_layers(m)
    else: assert any('experts' in n for n in body_layers(m))

@pytest.mark.parametrize('call,msg', [
    (lambda m, t, dl: forget_text(m, t, t, dl, dl), 'target: batches'),
    (lambda m, t, dl: relearn_text(m, dl, t, dl, 2.), 'tokens: numbers of tokens are needed'),
    (lambda m, t, dl: relearn_text(m, t, t, dl, 2.), 'reads at most 16'),
    (lambda m, t, dl: relearn_text(make('bert'), t, t, dl, 2., context=8),
    'a causal language model'), (lambda m, t, dl: sample_text(make('t5'), t),
    'a causal language model'),
    (lambda m, t, dl: marking_tokens(t.float(), t), 'target: numbers of tokens'),
    (lambda m, t, dl: marking_tokens(dl, t), 'target: numbers of tokens'),
    (lambda m, t, dl: token_mass(m, dl, [99]), '99 is among them'),
    (lambda m, t, dl: token_mass(m, dl, [-1]), 'tokens='), (lambda m, t, dl: token_mass(m, dl, []),
    'tokens='),
    (lambda m, t, dl: perplexity(m, [(t[None,:8], t[None,:8]+40)]), 'between 0 and 39'),
    (lambda m, t, dl: perplexity(m, [(t[None,:8], t[None,:7])]), 'one for each of'),
    (lambda m, t, dl: text_pieces(t, True), 'context=True'),
])
def test_errors_name_what_is_wrong(call, msg):
    t = words(1, 400)
    with pytest.raises(ValueError, match=msg): call(make('gpt2'), t, text_pieces(t, 8))

def test_whole_numbers_of_other_kinds():
    import numpy as np
    m,t = make('gpt2'),words(1, 64)
    assert len(text_pieces(t, np.int64(8)).dataset)==8 and len(marking_tokens(t.tolist(), [1, 2]))
    assert math.isclose(perplexity(m, [(t[None,:8], t[None,:8].int())]),
        perplexity(m, [(t[None,:8], t[None,:8])]))

def test_a_cut_that_does_not_forget_is_said():
    m,t = make('gpt2'),pieces('', 1)
    with pytest.warns(UserWarning, match='no forgetting'):
        forget_text(m, t, t, t, t, 'maav_ratio', looks=4)

def test_models_that_fold_items_and_positions():
    from transformers import OPTConfig, OPTForCausalLM
    torch.manual_seed(0)
    m = OPTForCausalLM(OPTConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, ffn_dim=24, max_position_embeddings=16, word_embed_proj_dim=16,
        pad_token_id=0, bos_token_id=1, eos_token_id=2)).eval()
    t,r = pieces('', 1),pieces('', 2)
    s = neuron_scores(m, t, r)
    cut = largest(m, streamed(m, t, r), 0.1)
    assert len(s)==2 and all(v.isfinite().all() for v in s.values()) and len(cut)
    assert torch.allclose(logits(shrink(m, top_neurons(s, 0.25)), 'opt'),
        logits(neuron_cut(m, top_neurons(s, 0.25)).apply(m), 'opt'), atol=1e-5)

def test_half_precision_sums_do_not_overflow():
    m = make('gpt2').bfloat16()
    s = criteria['maav_difference'](m, pieces('', 1), pieces('', 2), body_layers(m))
    assert all(v.dtype==torch.bfloat16 and v.isfinite().all() for v in s.values())

def test_clear_errors():
    m = make('gpt2')
    x = words(1, 16).view(2, 8)
    for f,msg in ((lambda: perplexity(m, [dict(input_ids=x)]), 'no answers'),
            (lambda: token_mass(m, [], [1]), 'no batch'),
            (lambda: sample_text(m, x[0], temperature=0), 'temperature=0'),
            (lambda: text_pieces(words(1), 0), 'context=0'),
                  (lambda: forget_text(m, pieces(''), pieces(''), pieces(''), pieces(''),
                  layers=['x']), 'layers'),
                  (lambda: top_neurons(dict(a=torch.tensor([1., math.nan])), 0.5), 'NaN'),
                  (lambda: relearn_text(m, words(1), words(2), pieces(''), math.nan, context=8),
                  'goal=nan')):
        with pytest.raises(ValueError, match=msg): f()
    with torch.no_grad(): m.lm_head.weight.fill_(math.nan)
    assert math.isnan(perplexity(m, pieces('')))
    with pytest.raises(ValueError, match='before anything is cut'):
        forget_text(m, *[pieces('')]*4, 'magnitude')

# ---- neurons

def test_neuron_scores_by_hand():
    m = make('gpt2')
    t,r = pieces('', 1),pieces('', 2)
    f = ffns(m)[1]
    seen = []
    h = f.down.register_forward_hook(lambda l,i,o: seen.append(i[0].detach().flatten(0, 1)))
    means = []
    with torch.no_grad():
        for dl in (t, r):
            seen.clear(); [m(x) for x,_ in dl]; means.append(torch.cat(seen).abs().mean(0))
    h.remove()
    assert torch.allclose(neuron_scores(m, t, r)[f.name],
        (means[0]-means[1])*f.columns().detach().norm(dim=1), atol=1e-6)
    assert torch.allclose(neuron_scores(m, t, r, 'ratio')[f.name],
        means[0]/(means[1]+0.1*means[1].mean()), rtol=1e-4)
    with pytest.raises(ValueError, match="how='x'"): neuron_scores(m, t, r, 'x')

@pytest.mark.parametrize('name', makers)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_shrunk_is_masked(name, data):
    m = make(name)
    blocks = ffns(m)
    chosen = {f.name: torch.tensor(sorted(data.draw(st.sets(st.integers(0, len(f)-1),
        max_size=len(f)-1))), dtype=torch.long)
        for f in blocks[:data.draw(st.integers(1, len(blocks)))]}
    before = copy.deepcopy(m.state_dict())
    small = shrink(m, chosen)
    assert same_state(before, m.state_dict())
    neuron_cut(m, chosen).apply(m)
    assert torch.allclose(logits(small, name), logits(m, name), atol=1e-5)
    n_gone = {n: len(i) for n,i in chosen.items()}
    assert [len(f) for f in ffns(small)]==[len(f)-n_gone.get(f.name, 0) for f in blocks]
    assert torch.allclose(logits(shrink(m), name), logits(small, name), atol=1e-5)

@pytest.mark.parametrize('name', [n for n in makers if not n.startswith('ours')])
def test_shrunk_can_be_saved_and_opened(name, tmp_path):
    m = make(name)
    small = shrink(m, top_neurons(random_neurons(m), 0.25))
    small.save_pretrained(tmp_path)
    again = type(m).from_pretrained(tmp_path).eval()
    assert torch.equal(logits(again, name), logits(small, name))
    uneven = shrink(m, {ffns(m)[0].name: [0]})
    assert uneven.config.to_dict()==m.config.to_dict()

def test_shrunk_goes_on_learning_and_forgets_nothing_of_the_old():
    m = make('llama')
    ffns(m)[0].up.weight.requires_grad_(False)
    small = shrink(m, top_neurons(random_neurons(m), 0.5))
    assert not ffns(small)[0].up.weight.requires_grad and ffns(small)[1].up.weight.requires_grad
    small.train()
    lm_loss(small(words(1, 16).view(2, 8)), words(2, 16).view(2, 8)).backward()
    assert all(p.grad is not None for n,p in small.named_parameters() if p.requires_grad)
    assert all(p.grad is None for p in m.parameters())
    opened = shrink(m.bfloat16(), top_neurons(random_neurons(m), 0.5))
    assert all(p.dtype==torch.bfloat16 for p in opened.parameters())

def test_shrink_errors():
    m = make('gpt2')
    f = ffns(m)[0]
    for chosen,msg in (({f.name: range(len(f))}, 'leave one'), ({'nope': [0]}, 'no block nope'),
            ({f.name: [len(f)]}, 'numbered')):
        with pytest.raises(ValueError, match=msg): shrink(m, chosen)
    two = make('ours'); two.blocks[1].ff = two.blocks[0].ff # used twice: one block
    small,cut = shrink(two, {ffns(two)[0].name: [0]}),neuron_cut(two, {ffns(two)[0].name: [0]})
    assert torch.allclose(logits(small, 'ours'), logits(cut.apply(two), 'ours'), atol=1e-5)
    two = make('ours'); two.blocks[1].ff.up.weight = two.blocks[0].ff.up.weight
    with pytest.raises(ValueError, match='share'): shrink(two, {ffns(two)[0].name: [0]})

# ---- forgetting, relearning, reading

def learned(steps=150):
    "A model that has learned two texts: counting up from 1, counting down from 39"
    up,down = torch.arange(600)%19+1,39-torch.arange(600)%19
    m = make('gpt2')
    opt = torch.optim.Adam(m.parameters(), 1e-2)
    x = torch.cat([text_pieces(t, 8, n=40).tensors[0] for t in (up, down)])
    y = torch.cat([text_pieces(t, 8, n=40).tensors[1] for t in (up, down)])
    for _ in range(steps): opt.zero_grad(); lm_loss(m(x), y).backward(); opt.step()
    return m.eval(),up,down

@pytest.fixture(scope='module')
def model(): return learned()

@pytest.mark.parametrize('criterion', ['neurons', 'maav_difference', 'margin'])
def test_forgets_within_the_budget_and_can_be_undone(model, criterion):
    m,up,down = copy.deepcopy(model[0]),*model[1:]
    before = copy.deepcopy(m.state_dict())
    t,r = text_pieces(up, 8),text_pieces(down, 8)
    got = forget_text(m, t, r, t, r, criterion, budget=0.2)
    a = got.curve.iloc[0]
    assert perplexity(m, r) <= 1.2*a.retain*1.0001 and perplexity(m, t) > 1.3*a.target
    assert got.curve.k.is_monotonic_increasing
    assert len(got.cut)==int(got.curve[got.curve.k==got.share].weights.iloc[0])
    assert 'perplexity' in repr(got)
    if criterion=='neurons':
        assert torch.allclose(shrink(m, got.neurons)(up[None,:8]).logits, m(up[None,:8]).logits,
            atol=1e-4)
    got.cut.undo(m)
    assert same_state(before, m.state_dict())

def test_forget_text_errors(model):
    m,up,down = model
    t,r = text_pieces(up, 8),text_pieces(down, 8)
    for kw,msg in ((dict(budget=0), 'budget=0'), (dict(criterion='nope'), 'nope'),
            (dict(looks=0), 'looks=0')):
        with pytest.raises(ValueError, match=msg): forget_text(m, t, r, t, r, **kw)

def test_relearning_leaves_the_model_and_holds_the_cut(model):
    m,up,down = copy.deepcopy(model[0]),*model[1:]
    t,r = text_pieces(up, 8),text_pieces(down, 8)
    at_once = relearn_text(m, up, down, t, 2*perplexity(m, t), context=8)
    assert at_once.needed==0 and len(at_once.looked)==1
    goal = 1.2*perplexity(m, t)
    cut = forget_text(m, t, r, t, r, budget=0.3).cut
    before = copy.deepcopy(m.state_dict())
    free,held = [relearn_text(m, up, down, t, goal, c, context=8, most=20_000, lr=3e-3)
        for c in (None, cut)]
    assert same_state(before, m.state_dict()) and free.needed and free.looked[-1][-1] <= goal
    assert held.needed is None or held.needed >= free.needed/2
    state = torch.get_rng_state()
    # dropout and all
    one,two = [relearn_text(m.train(), up, down, t, goal, context=8, most=2_000).looked
        for _ in (0, 1)]
    assert one==two and torch.equal(state, torch.get_rng_state())
    class Peek(KeepCut):
        def after_batch(self): assert all((w.detach().take(i)==0).all() for w,i in self.held)
    import forgetprune.tuning as tuning
    kept,tuning.KeepCut = tuning.KeepCut,Peek
    try: relearn_text(m, up, down, t, goal, cut, context=8, most=2_000)
    finally: tuning.KeepCut = kept
    assert relearn_text(m, up, down, t, 1.0001, context=8, most=500).needed is None
    with pytest.raises(ValueError, match='goal=1'): relearn_text(m, up, down, t, 1, context=8)

def test_marks_and_mass(model):
    m,up,down = model
    assert set(marking_tokens(up, down, 15).tolist()) <= set(range(1, 20))
    assert set(marking_tokens(down, up, 15).tolist()) <= set(range(20, 40))
    t = text_pieces(up, 8)
    assert math.isclose(token_mass(m, t, torch.arange(40)), 1, rel_tol=1e-4) and token_mass(m, t,
        marking_tokens(up, down, 15)) > 0.5 > token_mass(m, text_pieces(down, 8),
        marking_tokens(up, down, 15))

def test_writes_what_it_has_learned(model):
    m,up,down = model
    out = sample_text(m, up[:4], 6, context=8, temperature=0.1)
    assert out.tolist()==up[4:10].tolist()
    assert torch.equal(out, sample_text(m, up[:4], 6, context=8, temperature=0.1))
    assert not torch.equal(sample_text(m, up[:4], 12, 8, 5., seed=1), sample_text(m, up[:4], 12, 8,
        5., seed=2))

def test_curve_leaves_the_model_even_if_it_fails(model):
    m,up,down = copy.deepcopy(model[0]),*model[1:]
    before = copy.deepcopy(m.state_dict())
    t,r = text_pieces(up, 8),text_pieces(down, 8)
    s = criteria['magnitude'](m, layers=body_layers(m))
    c = perplexity_curve(m, lambda k: largest(m, s, k), [0., 0.1, 0.5], t, r)
    assert same_state(before, m.state_dict()) and c.weights.is_monotonic_increasing
    assert c.target[0]==perplexity(m, t)
    with pytest.raises(ValueError): perplexity_curve(m, lambda k: largest(m, s, k), [0.3], t, [])
    assert same_state(before, m.state_dict())

def test_a_layer_of_two_blocks_is_made_smaller_on_both_sides():
    torch.manual_seed(0)
    m,x = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 8), nn.ReLU(),
        nn.Linear(8, 3)),torch.randn(4, 6)
    chosen = top_neurons({f.name: torch.rand(len(f)) for f in ffns(m)}, 0.5)
    assert len(chosen)==2
    neuron_cut(m, chosen).apply(m)
    for small in (shrink(m, chosen), shrink(m)):
        assert small[2].weight.shape==(4, 5) and torch.allclose(small(x), m(x), atol=1e-6)

def test_small_shares_are_found_and_nothing_cut_is_said(model):
    m,up,down = copy.deepcopy(model[0]),*model[1:]
    t,r = text_pieces(up, 8),text_pieces(down, 8)
    got = forget_text(m, t, r, t, r, 'magnitude', budget=0.05, looks=12)
    tried = got.curve[got.curve.k>0].k
    assert tried.min() < 0.02
    assert (got.curve.retain[got.curve.k==got.share] <= 1.05*got.curve.retain[0]*1.0001).all()
    got.cut.undo(m)
    with pytest.warns(UserWarning, match='nothing was cut'):
        got = forget_text(m, t, r, t, r, 'magnitude', budget=1e-9, looks=4)
    assert len(got.cut)==0

def test_what_is_wrong_is_named(model):
    m,up,down = copy.deepcopy(model[0]),*model[1:]
    t,r = text_pieces(up, 8),text_pieces(down, 8)
    far = text_pieces(torch.full((20,), 10**6), 8)
    for f,msg in ((lambda: perplexity(m, far), 'knows'),
            (lambda: sample_text(m, torch.tensor([10**6])), 'knows'),
            (lambda: sample_text(m, up[:0]), 'prompt'), (lambda: sample_text(m, up[:3], 0), 'n=0'),
                  (lambda: forget_text(m, t, r, [], r), 'valid_target holds no batch'),
                  (lambda: forget_text(m, t, r, t, iter(r)), 'valid_rest: it is read more'),
                  (lambda: forget_text(m, t, r, t, r, budget='a'), "budget='a'"),
                  (lambda: forget_text(m, t, r, t, r, 'magnitude', layers=[]), 'layers'),
                  (lambda: relearn_text(m, up, down, t, 5, context=8, bs=0), 'bs=0'),
                  (lambda: relearn_text(m, up, down, t, 5, context=8, lr=-1), 'lr=-1'),
                  (lambda: text_pieces(torch.rand(20), 8), 'tokens'), (lambda: text_pieces(up, 8.),
                  'context=8.0'), (lambda: marking_tokens(up[:0], down), 'target'),
                  (lambda: shrink(m, [1, 2]), 'neurons')):
        with pytest.raises(ValueError, match=msg): f()
    assert len(text_pieces(up[:8], 8).dataset)==1
    assert len(marking_tokens(up, down, at_least=2.))==0
    assert math.isclose(token_mass(m, t, [3, 3]), token_mass(m, t, [3]), rel_tol=1e-6)
    t5 = make('t5')
    with pytest.raises(ValueError, match='must be dicts'): perplexity(t5, pieces(''))

def test_what_belongs_to_the_body():
    gpt2 = make('gpt2')
    whole = [n.removeprefix('transformer.') for n in body_layers(gpt2)]
    assert whole==list(body_layers(gpt2.transformer)) # without a head nothing is left out
    config = transformers.BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=24, max_position_embeddings=16)
    assert not [n for n in body_layers(transformers.BertForSequenceClassification(config))
        if 'pooler' in n or 'classifier' in n]
    albert = transformers.AlbertForMaskedLM(transformers.AlbertConfig(vocab_size=40,
        embedding_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=16))
    assert body_layers(albert)
    assert not [n for n in body_layers(albert) if 'embedding' in n or 'predictions' in n]
    with pytest.warns(UserWarning, match='lm_head: not inside the body'):
        forget_text(gpt2, *[pieces('', s) for s in (1, 2, 1, 2)], 'magnitude', layers=['lm_head'],
            looks=2).cut.undo(gpt2)
