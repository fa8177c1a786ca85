"""The pages on modules, from the signatures of the code and the comments on its arguments. For
`blog.py`"""
import importlib, inspect
from dataclasses import is_dataclass
from types import UnionType
from outline import wrapped
from staged import branch, github

source_at = f'https://github.com/{github}/blob/{branch}/'

# methods that others call
events = {f'{when}_{what}' for when in ('before', 'after') for what in ('create', 'fit', 'epoch',
    'train', 'batch', 'pred', 'loss', 'backward', 'step', 'cancel_step', 'cancel_batch', 'validate',
    'cancel_train', 'cancel_validate', 'cancel_epoch', 'cancel_fit')} | {'forward', 'state_dict',
    'load_state_dict'}

def symbols():
    "Module to the public names that its chapter wrote, methods included: full name to object"
    from forgetprune._modidx import d
    res = {}
    for mod,syms in d['syms'].items():
        m,found = importlib.import_module(mod),{}
        for full in syms:
            name = full.removeprefix(mod+'.')
            if any(p.startswith('_') for p in name.split('.')): continue
            o = m
            for p in name.split('.'):
                o = getattr(o, p, None) if not isinstance(o, type) else inspect.getattr_static(o, p,
                    None)
            if o is not None:
                found[name] = getattr(o, 'f', o) if type(o).__name__=='_clsmethod' else o
        found = {n: o for n,o in found.items() if '.' not in n or (n.split('.')[-1] not in events
            and n.split('.')[0] in (*found, 'Learner'))}
        tables = {n: getattr(m, n) for n in m.__all__ if isinstance(getattr(m, n, None), dict)
            and n not in found}
        if found:
            found,of,public = found|tables,mod.split('.')[-1],{*m.__all__, 'Learner'}
            def place(n): # the function that has the module's name, the others, helpers
                first = n.split('.')[0]
                return n not in (of, f'Learner.{of}'), first not in public, first.lower(), n
            res[of] = {n: found[n] for n in sorted(found, key=place)}
    return res

# labels know no capitals
def target(mod, name):
    return f'api-{mod}-{name.lower()}'+('-class' if name[0].isupper() and '.' not in name else '')

def cell_text(v): return str(v).replace('|', '\\|').replace('\n', ' ')

def value(v):
    "A default as it is written"
    name = getattr(v, '__name__', '')
    if name=='<lambda>' or repr(v)=='<factory>': return '...'
    if isinstance(v, (dict, list, tuple)) and len(repr(v)) > 60: return '...'
    return f'{v:.3g}' if isinstance(v, float) else name or repr(v)

def type_of(p):
    "The type of an argument or of what comes back, in words of the code; '' if it is not said"
    a = p.annotation if isinstance(p, inspect.Parameter) else p
    if a in (inspect.Parameter.empty, object): return ''
    if isinstance(a, UnionType): return '|'.join(map(type_of, a.__args__))
    return a if isinstance(a, str) else getattr(a, '__name__', None) or repr(a)

def type_in_table(p):
    "The type of an argument: as it is said, else that of its default"
    d = p.default
    known = type(d).__name__ if type(d) in (bool, int, float, str, tuple, list, dict) else ''
    return type_of(p) or known or ('callable' if inspect.isfunction(d) else '')

def called(o):
    "What is called, and the callable whose signature that has; None for a class that has none"
    f = o.__func__ if isinstance(o, (classmethod, staticmethod)) else o
    f = f.fget if isinstance(f, property) else f
    if not isinstance(f, type): return f, f
    if is_dataclass(f): return f, f
    return f, f.__init__ if '__init__' in vars(f) else None

def lines_of(f):
    "Where it stands, as an address in the repository; '' if that cannot be told"
    try: lines,first = inspect.getsourcelines(inspect.unwrap(f))
    except (TypeError, OSError): return ''
    path = inspect.getsourcefile(inspect.unwrap(f))
    if 'forgetprune' not in path: return ''
    file = path.replace('\\', '/').rsplit('/', 1)[1]
    return f'{source_at}forgetprune/{file}#L{first}-L{first+len(lines)-1}'

def said_of(f):
    "Its docstring"
    if isinstance(f, type): return vars(f).get('__doc__') or ''
    return (inspect.getdoc(f) if callable(f) else '') or ''

def heading(mod, name):
    level = '###' if '.' in name and not name.startswith('Learner.') else '##'
    return f'({target(mod, name)})=\n\n{level} `{name}`'

def shown(p):
    "An argument as the signature has it"
    star = '*' if p.kind==p.VAR_POSITIONAL else '**' if p.kind==p.VAR_KEYWORD else ''
    of = f':{type_of(p)}' if type_of(p) else ''
    return star+p.name+of+('' if p.default is p.empty else f'={value(p.default)}')

def options_of(args):
    "Of a command, whose defaults are Typer's objects: the arguments as they are, and their words"
    words = {p.name: p.default.help for p in args if hasattr(p.default, 'param_decls')}
    plain = lambda d,empty: empty if d is ... else d
    args = [p.replace(default=plain(p.default.default, p.empty)) if p.name in words else p
        for p in args]
    return args, words

def table(args, docs, gives):
    "What the arguments mean, with their types where they are told"
    rows = [(f'`{p.name}`', type_in_table(p), docs[p.name]) for p in args if docs.get(p.name)]
    if docs.get('return'): rows.append(('*returns*', gives, docs['return']))
    if not rows: return ''
    typed = any(t for _,t,_ in rows)
    line = lambda n,t,d: f'| {n} | '+(f'{f"`{t}`" if t else ""} | ' if typed else '')+f'{d} |'
    head = ['| argument | type | meaning |', '|---|---|---|'] if typed else [
        '| argument | meaning |', '|---|---|']
    return '\n'.join([*head, *(line(n, cell_text(t), cell_text(d)) for n,t,d in rows)])

def described(
    mod, # name of a module
    name, # of it, a method as `Class.method`
    o, # what it is
    written # name to the label of the chapter's cell that writes it
)->str:
    "One name of a module: heading, signature, docstring, arguments, and where the code is"
    from fastcore.docments import docments
    if isinstance(o, dict):
        entry = lambda k,v: f'`{k}`: {v:g}' if isinstance(v, (int, float)) else f'`{k}`'
        return f'{heading(mod, name)}\n\nA table: '+', '.join(entry(*i) for i in o.items())
    f,call = called(o)
    links = [f'[source]({lines_of(f)})'] if lines_of(f) else []
    if label := written.get(name) or written.get(name.split('.')[0]):
        links.insert(0, f'[in the chapter](#{label})')
    parts = [heading(mod, name), said_of(f)]
    try: sig = inspect.signature(call) if call else None
    except (TypeError, ValueError): sig = None
    if sig:
        args,words = options_of([p for n,p in sig.parameters.items() if n not in ('self', 'cls')])
        gives = '' if call is not f or isinstance(f, type) else type_of(sig.return_annotation)
        if not isinstance(o, property):
            tail = f')->{gives}' if gives else ')'
            written_out = wrapped([shown(p) for p in args], f'{name}(', tail)
            parts.insert(1, f'```python\n{written_out}\n```')
        parts.append(table(args, {**docments(call, args_kwargs=True), **words}, gives))
    if links: parts.append(f':::{{container}} source\n{" · ".join(links)}\n:::')
    return '\n\n'.join(p for p in parts if p)

def module_page(
    mod, # name of a module
    found, # its names, each with what it is
    chapter, # (name, entry) of the chapter that writes it
    written # see `described`
)->str:
    "The page on a module"
    n,ch = chapter
    said = ch['summary'][0].lower()+ch['summary'][1:]
    intro = (f'From the chapter [{ch["title"]}](../{n}.ipynb): {said}. To use it: '
        f'`from forgetprune.{mod} import *`.')
    return f'# forgetprune.{mod}\n\n{intro}\n\n'+'\n\n'.join(
        described(mod, name, o, written) for name,o in found.items())+'\n'
