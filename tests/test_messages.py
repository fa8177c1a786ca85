"What cannot work is refused before the work, by a sentence that says what would"
import pytest, torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from forgetprune.cut import largest
from forgetprune.forget import forget
from forgetprune.loaders import in_memory
from forgetprune.scores import magnitude

def net(n=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(),
        nn.Linear(16, n))

def loader(classes, n=40):
    g = torch.Generator().manual_seed(0)
    y = torch.tensor(classes)[torch.arange(n)%len(classes)]
    return DataLoader(TensorDataset(torch.randn(n, 8, generator=g), y), batch_size=16)

class Named(Dataset):
    "Items are dicts"
    def __init__(self, name): self.name = name
    def __len__(self): return 40
    def __getitem__(self, i): return {self.name: torch.ones(8)*i, 'label': i%4}

def refused(*args, **kw):
    with pytest.raises(ValueError) as e: forget(*args, progress=False, **kw)
    return str(e.value)

four = loader([0, 1, 2, 3])
vocab = ['cat', 'dog', 'fox', 'owl']

def test_a_class_that_validation_data_lack():
    for valid in (loader([0, 1, 3]), in_memory(loader([0, 1, 3]))):
        said = refused(net(), four, valid, 'fox', vocab=vocab)
        assert "class 'fox': no item of the validation data" in said
        assert 'there are cat, dog, owl; give data that hold some of it' in said
    said = refused(net(), four, loader([2]), 2, vocab=vocab, test=four)
    assert "class 'fox': every item of the validation data" in said and 'others too' in said
    assert 'class 2: no item of the test data' in refused(net(), four, four, 2, test=loader([0, 1]))

@pytest.mark.parametrize('criterion', ['maav_difference', 'taylor'])
def test_labels_beyond_the_outputs(criterion):
    five = loader(range(5))
    for train,valid in ((four, five), (in_memory(five), four)):
        said = refused(net(), train, valid, 1, criterion=criterion)
        assert 'hold items of class 4, and the model has 4 outputs, for classes 0 to 3' in said
    assert forget(net(5), five, five, 4, k=5, progress=False).k==5

@pytest.mark.parametrize('bad,kind', [(1.0, 'float'), (None, 'NoneType'), (True, 'bool'),
    (torch.tensor(1.), 'float')])
def test_targets_that_are_no_class(bad, kind):
    for v in (None, vocab):
        said = refused(net(), four, four, bad, vocab=v)
        assert f'of type {kind}' in said and 'an int' in said and 'its name' in said

def test_arguments_in_another_order(learn):
    for args in ((four, net(), four), (four, four, net()), (None, four, four)):
        said = refused(*args, 1)
        assert 'the order is forget(model, train, valid, target)' in said
    assert 'call learn.forget(target)' in refused(learn, four, four, 1)

class Takes(nn.Module):
    "Reads an entry by its name"
    def __init__(self): super().__init__(); self.net = net()
    def forward(self, pixels): return self.net(pixels)

def test_a_plain_module_on_dicts():
    dl = DataLoader(Named('pixels'), batch_size=16)
    said = refused(net(), dl, dl, 1)
    assert 'batches are dicts with pixels' in said and 'Sequential takes input' in said
    other = DataLoader(Named('image'), batch_size=16)
    said = refused(Takes(), other, other, 1)
    assert 'dicts with image, and forward of Takes takes pixels' in said
    assert len(forget(Takes(), dl, dl, 1, k=5, progress=False).cut)
    class Broken(Takes):
        def forward(self, pixels): return self.net(pixels, 1)
    with pytest.raises(TypeError): forget(Broken(), dl, dl, 1, progress=False) # its own mistake

def test_undo_returns_nothing_to_print():
    m = net()
    was = {n: t.clone() for n,t in m.state_dict().items()}
    cut = largest(m, magnitude(m), 5)
    assert cut.apply(m) is m and cut.undo(m) is None
    assert all(torch.equal(t, was[n]) for n,t in m.state_dict().items())
