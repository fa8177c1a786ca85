"Perplexity and pieces of text"
import math, warnings
import pytest, torch
from test_lm import make, makers, words
from forgetprune.reading import *

@pytest.mark.parametrize('name', makers)
def test_perplexity_is_exp_of_the_mean_loss(name):
    m = make(name)
    x = words(3, 16).view(2, 8)
    y = x if name.startswith('t5') else torch.cat([x[:,1:], torch.full((2, 1), -100)], 1)
    got = perplexity(m, [dict(input_ids=x, labels=y)] if name.startswith('t5') else [(x[:1], y[:1]),
        (x[1:], y[1:])])
    with torch.no_grad(): out = m(input_ids=x, labels=y).logits if name.startswith('t5') else m(x)
    p = getattr(out, 'logits', out).log_softmax(-1).gather(-1, y.clamp(min=0)[...,None])[...,
        0][y>=0]
    assert math.isclose(got, math.exp(-p.mean()), rel_tol=1e-4)

@pytest.mark.parametrize('name', ['gpt2', 'bert', 't5', 'llama'])
def test_batches_of_transformers_mean_what_transformers_means(name):
    m = make(name)
    x = words(3, 16).view(2, 8)
    b = dict(input_ids=x, labels=x)
    with torch.no_grad():
        assert math.isclose(perplexity(m, [b]), math.exp(m(**b).loss), rel_tol=1e-4)

@pytest.mark.parametrize('name', ['gpt2', 'llama'])
def test_padding_is_no_text(name):
    m = make(name)
    x,mask = words(3, 16).view(2, 8),torch.ones(2, 8, dtype=torch.long)
    mask[1,5:] = 0
    padded = dict(input_ids=x, attention_mask=mask, labels=x)
    with torch.no_grad(): want = m(**{**padded, 'labels': x.masked_fill(mask==0, -100)}).loss
    assert math.isclose(perplexity(m, [padded]), math.exp(want), rel_tol=1e-4)
    assert token_mass(m, [padded], torch.arange(40))==pytest.approx(1)
    assert not math.isclose(perplexity(m, [dict(input_ids=x, labels=x)]), math.exp(want),
        rel_tol=1e-5)

def test_masked_models_are_not_asked_for_what_they_see():
    m,x = make('bert'),words(3, 32).view(4, 8)
    hidden = x.clone(); hidden[:,::3] = 39
    with pytest.warns(UserWarning, match='the next token'):
        perplexity(m, text_pieces(x.flatten(), 8))
    with pytest.warns(UserWarning, match='the tokens that it reads'):
        perplexity(m, [dict(input_ids=x, labels=x)])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        perplexity(m, [dict(input_ids=hidden, labels=torch.where(hidden==39, x, -100))])
        perplexity(make('gpt2'), text_pieces(x.flatten(), 8))

def test_xlnet_asks_for_what_stands_there():
    from transformers import XLNetConfig, XLNetLMHeadModel
    torch.manual_seed(0)
    m,x = XLNetLMHeadModel(XLNetConfig(vocab_size=40, d_model=16, n_layer=2, n_head=2,
        d_inner=24)).eval(),words(3, 16).view(2, 8)
    with torch.no_grad():
        assert math.isclose(perplexity(m, [dict(input_ids=x, labels=x)]),
            math.exp(m(input_ids=x, labels=x).loss), rel_tol=1e-4)

def test_pieces():
    t = torch.arange(50)
    x,y = text_pieces(t, 10).tensors
    assert x.shape==(5, 10) and torch.equal(x.flatten(), t) and torch.equal(y[:,:-1], x[:,1:])
    assert (y[:,-1]==-100).all()
    a,b = text_pieces(t, 10, n=7, seed=3).tensors[0],text_pieces(t, 10, n=7, seed=3).tensors[0]
    assert torch.equal(a, b) and (a.diff(dim=1)==1).all() and len(a)==7
    for bad in (t[:9], t.view(5, 10)):
        with pytest.raises(ValueError, match='tokens'): text_pieces(bad, 10)
    with pytest.raises(ValueError, match='no batch'): perplexity(make('gpt2'), [])
