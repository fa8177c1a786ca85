"""Code as a chapter shows it: what a cell is for, and an outline of its functions. For `blog.py`"""
import ast, re, textwrap

def parsed(code):
    "The statements of a cell; none if it is not Python (a line for the shell)"
    try: return ast.parse(code).body
    except SyntaxError: return []

def is_import(node): return isinstance(node, (ast.Import, ast.ImportFrom))

def is_call(node, name):
    "Is it a call of a function whose name, with what stands before it, fits the pattern?"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and bool(re.match(
        name, ast.unparse(node.value.func)))

def is_check(node):
    "An assertion, a test of fastcore's, or a block of nothing else"
    if isinstance(node, ast.Assert) or is_call(node, 'test_'): return True
    if isinstance(node, ast.With) and re.search('raises|Exception', ast.unparse(node.items[0])):
        return True
    return isinstance(node, (ast.For, ast.With)) and all(map(is_check, node.body))

def sets(node):
    "An option of a library: `pd.set_option(...)`, `plt.rcParams[...] = ...`"
    return is_call(node, r'[\w.]*set_\w+') or (isinstance(node, ast.Assign)
        and all('rcParams' in ast.unparse(t) for t in node.targets))

def after_imports(
    code # of a cell
)->tuple: # (the imports that it begins with, what comes after them); all of it if nothing does
    "A cell in two, where it does more than to import"
    body = parsed(code)
    n = next((i for i,node in enumerate(body) if not (is_import(node) or sets(node))), 0)
    if not n: return '', code
    lines,end = code.split('\n'),body[n-1].end_lineno
    return '\n'.join(lines[:end]), '\n'.join(lines[end:]).strip('\n')

def kind(
    code, # of a cell
    shows # does it have outputs?
)->str: # 'imports', 'check', 'functions' or 'code'
    "What a cell is for"
    body = parsed(code)
    set_up = lambda node: is_import(node) or sets(node)
    if any(map(is_import, body)) and all(map(set_up, body)) and not shows: return 'imports'
    if body and all(map(is_check, body)) and not shows: return 'check'
    defines = lambda node: isinstance(node, (ast.FunctionDef, ast.ClassDef))
    return 'functions' if body and all(map(defines, body)) and not shows else 'code'

# ---- outlines

wide = 88 # columns of a signature

def wrapped(parts, head, tail):
    "Arguments in brackets, on as many lines as they need"
    one = f'{head}{", ".join(parts)}{tail}'
    if len(one) <= wide: return one
    # a blank within an argument must not break
    joined = ', '.join(p.replace(' ', '\0') for p in parts)
    lines = textwrap.wrap(joined, wide-4, break_long_words=False, break_on_hyphens=False)
    return '\n'.join([head, *('    '+l.replace('\0', ' ') for l in lines), tail])

def arguments(node):
    "The arguments of a function, each as it is written"
    a,res = node.args,[]
    def one(arg, default=None, star=''):
        hint,value = [n and ast.unparse(n) for n in (arg.annotation, default)]
        # what does not fit into a line, such as an option of a command with its help, is below
        if hint and len(hint) > wide//2: hint = '...'
        if value and len(value) > wide//2: value = '...'
        res.append(star+arg.arg+(f':{hint}' if hint else '')+(f'={value}' if value else ''))
    given = [None]*(len(a.posonlyargs+a.args)-len(a.defaults))+a.defaults
    for arg,default in zip(a.posonlyargs+a.args, given): one(arg, default)
    if a.vararg: one(a.vararg, star='*')
    elif a.kwonlyargs: res.append('*')
    for arg,default in zip(a.kwonlyargs, a.kw_defaults): one(arg, default)
    if a.kwarg: one(a.kwarg, star='**')
    return res

def words_of(node, by):
    "The docstring as lines"
    said = ast.get_docstring(node)
    if not said: return ''
    return '\n'+textwrap.indent(f'"{said}"' if '\n' not in said else f'"""{said}"""', ' '*by)

def outline_of(node, lines):
    "A function, a class or a table as a reader needs it to go on"
    if isinstance(node, ast.ClassDef):
        bases = ', '.join(map(ast.unparse, node.bases+[k.value for k in node.keywords]))
        fields = [lines[i] for n in node.body if isinstance(n, ast.AnnAssign)
            for i in range(n.lineno-1, n.end_lineno)]
        return '\n'.join([f'class {node.name}{f"({bases})" if bases else ""}:'
            +words_of(node, 4), *fields])
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        gives = f'->{ast.unparse(node.returns)}' if node.returns else ''
        said = words_of(node, 4) or ' ...'
        return wrapped(arguments(node), f'def {node.name}(', f'){gives}:')+said
    return ''

def names(
    code # of a cell
)->list: # of names; `@patch def f(self:Learner)` is `Learner.f`
    "The functions, classes and tables that a cell defines"
    res = []
    for n in parsed(code):
        if isinstance(n, ast.Assign): res += [t.id for t in n.targets if isinstance(t, ast.Name)]
        if not isinstance(n, (ast.FunctionDef, ast.ClassDef)): continue
        of = [a.annotation for a in getattr(n, 'args', ast.arguments(args=[])).args[:1]
            if any('patch' in ast.unparse(d) for d in n.decorator_list)]
        res.append(f'{ast.unparse(of[0])}.{n.name}' if of and of[0] else n.name)
    return res

def outline(
    code # of an exported cell
)->str: # '' if little would be folded away
    "The signatures and docstrings of a cell: of what is public, if anything is"
    lines = code.split('\n')
    body = [n for n in parsed(code) if hasattr(n, 'name')]
    body = [n for n in body if not n.name.startswith('_')] or body
    # those without words stand close together
    res = re.sub(r'( \.\.\.)\n\n(?=def )', r'\1\n', '\n\n'.join(outline_of(n, lines) for n in body))
    return res if res and len(lines)-len(res.split('\n')) > 2 else ''
