"""What people try against sandboxes: as expressions, as templates, and as what a message says."""

from __future__ import annotations

ESCAPES = [
    "PID-5.__class__", "PID-5.1.__class__", "(PID-5).__class__", "(PID-5).__class__.__mro__", "''.__class__", "('').__class__",
    "''.__class__.__mro__[1].__subclasses__()", "().__class__.__bases__[0]", "(1).__class__", "[].__class__", "[]['__class__']",
    "message.__class__", "message.id.__class__", "site.__init__.__globals__", "today.__class__", "n.__class__", "n.real",
    "omit.__class__", "null.__class__", "self", "self.__init__", "self._TemplateReference__context", "loop", "caller()", "varargs",
    "config", "request", "g", "cycler", "cycler.__init__.__globals__.os", "joiner()", "namespace()", "lipsum()", "range(10)",
    "range(999999999)", "dict()", "dict(a=1)", "lipsum.__globals__", "get_flashed_messages.__globals__", "url_for.__globals__",
    "__import__('os')", "eval('1')", "exec('1')", "open('/etc/passwd')", "print(1)", "getattr(PID-5, 'raw')", "type(1)", "vars()",
    "globals()", "breakpoint()", "first.__globals__", "first.__call__(1)", "code.__self__", "first(first)", "joined.x",
    "PID-5 | attr('__class__')", "PID-5 | map('upper')", "PID-5 | map(attribute='__class__')", "PID-5 | selectattr('__class__')",
    "'%s' | format(PID-5)", "'{0.__class__}'.format(PID-5)", "'{0.__class__}' | format(1)", "('{0.__class__}').format(1)",
    "'%1000000000d' | format(1)", "'x' | center(1000000000)", "'x' | indent(999999999)", "'x' | wordwrap(1)", "PID-5 | tojson",
    "PID-5 | pprint", "PID-5 | safe", "PID-5 | e", "PID-5 | string", "PID-5 | list", "PID-5 | xmlattr", "PID-5 | random",
    "[1] | sort(attribute='__class__')", "[1] | groupby('__class__')", "[[1]] | sum(start=[])", "PID-5 | filesizeformat",
    "PID-5 is callable", "PID-5 is mapping", "PID-5 is sameas(1)", "PID-5 is filter('x')",
    "'x' * 1000000000", "'x' * 10 ** 9", "[1] * 1000000000", "10 ** 1000000000", "9 ** 9 ** 9 ** 9", "2 ** -1000000000",
    "9999999999999999999999999999 * 9999999999999999999999999999", "'x' | pad(1000000000)", "'x' | truncate(1000000000)",
    "'%' % 1", "'%1000000000d' % 1", "'%s' % PID-5", "PID-7 | date | text('%1000000000d')", "PID-7 | date | text('%9999Y')",
    "message.received | text('%-d')", "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' is matching('(a|a)*$')",
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' is matching('(a*)*$')", "'aaaaaaaaaaaaaaaaaaaaaaaa!' is matching('(a+a+)+$')",
    "'aaaa' is matching('(?=(a+))*b')", "'aaaa' is matching('(a)\\\\1+')", "'aaaaaaaa' is matching('.*.*.*.*.*=')",
    "PID-5 | code('../../etc/passwd')", "PID-5 | code('/etc/passwd')", "PID-5 is listed('../codes/sex')",
    "{{ 7*7 }}", "{% for x in y %}", "{# #}", "lambda: 0", "[x for x in (1,)]", "PID-5 if", "x := 1", "a.b.c()", "(first)(1)",
    "first(**PID-5)", "first(*PID-5)", "[1][0]", "'abc'[0]", "'abc'[::-1]", "`id`", "${7*7}", "#{7*7}", "\\u007b", "\x00", "PID-5;1",
    "first(" * 30 + "1" + ")" * 30, "(" * 200 + "1" + ")" * 200, "-" * 3000 + "1", "not " * 900 + "1", " ~ ".join(["1"] * 900),
    "[" * 100 + "]" * 100, "1 if 1 else " * 400 + "1", "'" + "x" * 5000 + "'",
]  # fmt: skip

MORE_ESCAPES = [
    # names of Python by every syntax that might read one
    "PID-5.1['__class__']", "PID-5.1 | attr('__class__')", "PID-5.1 | attr('__cl' ~ 'ass__')", "message['__class__']",
    "message.received.__class__", "message.received.tzinfo", "message.received.strftime('%s')", "message.__dict__", "site.__dict__",
    "site['timezone'].__class__", "today.__reduce__", "today.__reduce_ex__(2)", "n.__add__(1)", "n.bit_length()", "omit.__init__",
    "null.__init__.__globals__", "message.id.format", "message.id.format(message)", "message.id.join", "message.id.encode()",
    "PID-5.format(message)", "PID-5.raw", "PID-5.component(1)", "PID-5.leaves()", "('a' ~ 'b').upper()", "(1 + 1).real",
    "(PID-5 | name).items()", "(PID-5 | name).__class__", "(PID-5 | name)['family']", "(PID-7 | date).year", "(PID-7 | date).today()",
    "[PID-5].append(1)", "[PID-5].__class__", "[].__class__.__base__.__subclasses__()", "{}.__class__", "{'a': 1}", "('a',).index('a')",
    # escapes and other alphabets
    "PID-5.\\x5f\\x5fclass\\x5f\\x5f", "'\\x5f\\x5fclass\\x5f\\x5f' | attr", "PID-5.＿＿class＿＿", "PID-5.__ｃｌａｓｓ__", "ｏpen('/etc/passwd')",
    "ｅval('1')", "__ımport__('os')", "PID-5\u200b.__class__", "PID-5\u2028.__class__", "message\uff0eid", "\u202ePID-5", "PID-5\x00.__class__",
    "𝓮val('1')", "PID-5․__class__", "\ufeffself",
    # frames, generators, tracebacks, code
    "(x for x in PID-3)", "PID-3[*].gi_frame", "(PID-3[*]).gi_frame.f_back", "first.__code__", "first.__globals__['os']", "joined.__closure__",
    "code.__globals__", "code.__init__.__globals__['sys'].modules", "message.__traceback__", "omit.__class__.__mro__[1]", "PID-5.cr_frame",
    "PID-5.f_locals", "PID-5.tb_frame", "coalesce.__globals__", "first.__self__.__class__", "first.__kwdefaults__",
    # objects that templating engines leave lying about
    "_context", "context", "context.vars", "environment", "environment.globals", "self._TemplateReference__context.environment",
    "self.__dict__", "super()", "super().__init__", "caller", "kwargs", "loop.__init__", "undefined.__class__", "resolve('os')",
    "resolve('os').system('touch CANARY')", "namespace(a=1)", "namespace.__init__.__globals__", "cycler.next", "joiner.__init__.__globals__.os",
    "lipsum(n=1000000)", "lipsum.__globals__['os'].popen('touch CANARY').read()", "cycler.__init__.__globals__.os.system('touch CANARY')",
    "dict.__base__", "range.__class__", "debug()", "config.items()", "config['SECRET']", "request.application.__globals__",
    "app.config", "session", "g.pop", "session.__class__", "handler.settings", "settings.SECRET_KEY", "engine.errors", "os.environ",
    # calls
    "__import__('os').system('touch CANARY')", "__builtins__", "__builtins__.open('CANARY', 'w')", "__builtins__['eval']('1')",
    "import_module('os')", "importlib.import_module('os')", "subprocess.run('id')", "os.system('touch CANARY')", "os.popen('touch CANARY')",
    "open('CANARY', 'w').write('x')", "compile('1', '', 'eval')", "setattr(PID-5, 'a', 1)", "hasattr(PID-5, 'a')", "delattr(PID-5, 'a')",
    "getattr(PID-5, '__class__')", "getattr('', '__cl' + 'ass__')", "object()", "str(PID-5)", "bytes(10)", "bytearray(10 ** 9)", "list(PID-5)",
    "set()", "iter(PID-5)", "next(PID-5)", "map(first, PID-5)", "filter(first, PID-5)", "zip(PID-5)", "id(PID-5)", "dir()", "locals()",
    "help()", "input()", "exit()", "quit()", "memoryview('x')", "property()", "staticmethod(first)", "lambda x: x", "yield 1", "await x",
    "first(open)", "first(__import__)", "joined('', self)", "code(open)", "code(table='sex')", "code('sex', __class__=1)", "code('sex', **{})",
    "first(a := 1)", "print('CANARY')", "PID-5 |> upper", "PID-5.upper | upper()", "(PID-5 | upper)()", "'x'()", "1()", "[1]()", "(first)()",
    # filters and tests that others have
    "PID-5 | format", "PID-5 | do", "PID-5 | map('attr', '__class__') | list", "PID-3[*] | map(attribute='__class__') | list",
    "PID-3[*] | selectattr('__class__')", "PID-3[*] | rejectattr('x')", "PID-3[*] | select('callable')", "PID-3[*] | groupby('__class__')",
    "PID-3[*] | batch(3)", "PID-3[*] | slice(3)", "PID-3[*] | sort", "PID-3[*] | min(attribute='x')", "PID-3[*] | dictsort", "PID-3[*] | items",
    "PID-3[*] | reverse", "PID-5 | urlize", "PID-5 | urlencode", "PID-5 | striptags", "PID-5 | escape", "PID-5 | forceescape", "PID-5 | float",
    "PID-5 | int(base=36)", "PID-5 | round(method='ceil')", "PID-5 | import", "PID-5 | eval", "PID-5 | exec", "PID-5 | system", "PID-5 | open",
    "PID-5 | __class__", "PID-5 | _turns", "PID-5 | turns of", "PID-5 | joined text", "PID-5 | default.__globals__", "PID-5 | upper.__call__",
    "PID-5 is defined.__class__", "PID-5 is test('x')", "PID-5 is eq(1)", "PID-5 is in('x')", "PID-5 is iterable", "PID-5 is none",
    # statements of templates, in an expression
    "{% import 'os' as os %}", "{% include '/etc/passwd' %}", "{% extends 'x' %}", "{% set x = 1 %}", "{% macro a() %}{% endmacro %}",
    "{% call first() %}{% endcall %}", "{% raw %}", "{% do first() %}", "{{ self }}", "{{ ''.__class__ }}", "${self.module}", "<%= 7 * 7 %>",
    "#set($x=1)", "${T(java.lang.Runtime)}", "*{7*7}", "@{7*7}", "[[7*7]]", "{{=7*7}}", "{{constructor.constructor('return 1')()}}",
    # huge things
    "'x' * 9 * 9 * 9 * 9", "('x' ~ 'y') * 1000000", "9 ** 99 ** 9", "10 ** 100 ** 100", "-9 ** 99", "1 / 0", "1 // 0", "1 % 0", "0 ** -1",
    "1e999999999", "1e308 * 10", "99999999999999999999999999999999999999", "0.1 ** 100", "PID-5 | pad(1001)", "PID-5 | round(99)",
    "PID-5 | substring(0)", "PID-5 | substring(1, 999999999)", "PID-5 | replace('', 'x')", "PID-5 | split('')", "PID-5 | tuples(1, 999999999)",
    "PID-5 | column(999999999)", "PID-5 | pairs(-1)", "PID-7 | date('%1000000000Y')", "PID-7 | datetime('%E')", "message.received | text('%0999999d')",
    "'a' is matching('a{0,50}a{0,50}a{0,50}a{0,50}a{0,50}b')", "'a' is matching('(?:a?){50}a{50}')", "'a' is matching('(?:a|aa){20}$')",
    "'a' is matching('(?:a{0,9}){0,9}x{0,9}y')", "'a' is matching('(' )", "'a' is matching('" + "(" * 90 + ")" * 90 + "')", "'a' is matching('[')",
    "'a' is matching(PID-5)", "'a' is matching('(?P<a>x)(?P=a)')", "'a' is matching('x{99999999999}')", "PID-5 | code(PID-5)",
]  # fmt: skip

TEMPLATES = [
    "{{ ''.__class__ }}", "{{ ''['__class__'] }}", "{{ m.__class__ }}", "{{ m['__class__'] }}", "{{ message.__class__ }}",
    "{{ self }}", "{{ self.__init__ }}", "{{ loop }}", "{{ range(10) }}", "{{ lipsum() }}", "{{ cycler('a') }}", "{{ namespace() }}",
    "{{ dict() }}", "{{ joiner() }}", "{{ ''|attr('__class__') }}", "{{ '%s'|format(m) }}", "{{ '{0.__class__}'.format(m) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(m) }}", "{{ 'x' * 1000000000 }}", "{{ 10 ** 1000000000 }}", "{{ [1] * 1000000000 }}",
    "{{ nothing }}", "{{ message.nothing }}", "{{ message.items() }}", "{{ message.get('id') }}", "{% import 'os' as os %}",
    "{% include '/etc/passwd' %}", "{% extends 'x' %}", "{% from 'x' import y %}", "{{ message['_mapping'] }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}", "{% for x in [1] %}{{ loop.cycle('a') }}{% endfor %}",
    "{% for x in [1] %}{{ loop._undefined }}{% endfor %}", "{% macro a() %}{{ caller() }}{% endmacro %}{{ a() }}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "{% macro a() %}{% endmacro %}{{ a.__class__ }}{{ a.name.__class__ }}",
    "{% call(x) a %}{% endcall %}", "{{ scope__ }}", "{{ scope__.facts }}", "{{ m._document }}", "{{ m['PID-5'].raw.__class__ }}",
    "{{ today.__class__ }}", "{{ today.strftime('%1000000000d') }}", "{{ today|text('%1000000000d') }}", "{{ 'x'|pad(999999999) }}",
    "{{ 'x'|safe }}", "{{ 'x'|e }}", "{{ m|tojson }}", "{{ m|list }}", "{{ [1]|map('upper')|list }}", "{{ 1|e|attr('x') }}",
    "{{ 'x'|replace('x', 'y' * 100000000) }}", "{% if ''.__class__ %}x{% endif %}", "{{ (1).__class__ }}", "{{ 'a' is callable }}",
    "{{ 'a' is mapping }}", "{{ m() }}", "{{ message() }}", "{{ 'abc'[::-1] }}", "{{ 'a' 'b' }}{{ x }}", "{{ undefined_name.x.y }}",
    "{% filter upper %}{{ ''.__class__ }}{% endfilter %}", "{% set x = message.__class__ %}{{ x }}", "{% do 1 %}", "{% debug %}",
]  # fmt: skip

MORE_TEMPLATES = [
    # names of Python by every syntax that might read one
    "{{ ''['__cl' ~ 'ass__'] }}", "{{ ''['\\x5f\\x5fclass\\x5f\\x5f'] }}", "{{ (''|upper).__class__ }}", "{{ []['__class__'] }}", "{{ {}.__class__ }}",
    "{{ {'a': 1}['__class__'] }}", "{{ {'a': 1}.items() }}", "{{ {'a': 1}.get('a') }}", "{{ {'a': 1}.__class__.__mro__ }}", "{{ message['__class__'] }}",
    "{{ message.received.__class__ }}", "{{ message.received.tzinfo }}", "{{ message.received['tzinfo'] }}", "{{ message.copy() }}",
    "{{ message['_mapping'] }}", "{{ site.__dict__ }}", "{{ site['__class__'] }}", "{{ today.year }}", "{{ today['year'] }}", "{{ today.today() }}",
    "{{ 'x'.format }}", "{{ 'x'.format_map }}", "{{ 'x'['format'] }}", "{{ '{.__class__}'.format('') }}", "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ 'x'|attr('format')('y') }}", "{{ ['{0.__class__}'.format]|map('x')|list }}", "{% set f = ''['format'] %}{{ f(1) }}", "{{ ''.join }}",
    "{{ ''.encode() }}", "{{ 'x'.__mod__(1) }}", "{{ (1).__add__(1) }}", "{{ 1.0.__class__ }}", "{{ true.__class__ }}", "{{ none.__class__ }}",
    "{{ ''.＿＿class＿＿ }}", "{{ ''.__ｃlass__ }}", "{{ ''['＿＿class＿＿'] }}", "{{ ''\u200b.__class__ }}", "{% set ＿x = 1 %}{{ ＿x.__class__ }}",
    # what Jinja2 leaves within reach elsewhere
    "{{ self._TemplateReference__context }}", "{{ self.__init__.__globals__ }}", "{{ self['__init__'] }}", "{% set s = self %}{{ s }}", "{{ context }}",
    "{{ _context }}", "{{ environment }}", "{{ environment.globals }}", "{{ resolve('os') }}", "{{ undefined }}", "{{ Undefined }}", "{{ missing }}",
    "{{ l_0_x }}", "{{ t_1 }}", "{{ cond_expr_undefined }}", "{{ root_render_func }}", "{{ concat }}", "{{ Markup }}", "{{ escape }}", "{{ Macro }}",
    "{{ LoopContext }}", "{{ Namespace }}", "{{ name }}", "{{ blocks }}", "{{ debug_info }}", "{{ super() }}", "{{ varargs }}", "{{ kwargs }}",
    "{{ lipsum.__globals__['os'].popen('touch CANARY').read() }}", "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "{{ joiner.__init__.__globals__ }}", "{{ namespace.__init__.__globals__ }}", "{{ get_flashed_messages.__globals__ }}", "{{ url_for }}",
    "{{ config }}", "{{ request.application.__globals__.__builtins__.__import__('os').system('touch CANARY') }}", "{{ g }}", "{{ session }}",
    "{{ __import__('os').system('touch CANARY') }}", "{{ __builtins__ }}", "{{ open('CANARY', 'w') }}", "{{ eval('1') }}", "{{ getattr('', '__class__') }}",
    "{{ vars() }}", "{{ type('') }}", "{{ print(1) }}", "{{ object }}", "{{ str('') }}",
    # macros, calls, loops
    "{% macro a() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ a(1, b=2) }}", "{% macro a() %}{% endmacro %}{{ a.__call__ }}",
    "{% macro a() %}{% endmacro %}{{ a['__globals__'] }}", "{% macro a() %}{% endmacro %}{{ a._func.__globals__ }}", "{% macro a() %}{% endmacro %}{{ a.catch_kwargs }}",
    "{% macro a(x=''.__class__) %}{{ x }}{% endmacro %}{{ a() }}", "{% macro a(x) %}{{ x() }}{% endmacro %}{{ a(a) }}", "{% macro __a() %}{% endmacro %}{{ __a() }}",
    "{% macro a() %}{{ caller.__globals__ }}{% endmacro %}{% call a() %}{% endcall %}", "{% macro a() %}x{% endmacro %}{{ a().__class__ }}",
    "{% macro a() %}x{% endmacro %}{{ a().__html__() }}", "{% macro a() %}{x}{% endmacro %}{{ a().format(x=1) }}", "{% macro a() %}%s{% endmacro %}{{ a() % 1 }}",
    "{% for x in [1] recursive %}{{ loop.__call__ }}{% endfor %}", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% for x in [1] %}{{ loop.cycle.__globals__ }}{% endfor %}", "{% for x in [1] %}{{ loop['_undefined'] }}{% endfor %}",
    "{% for x in [1] %}{{ loop.previtem }}{{ loop.changed(1) }}{% endfor %}", "{% for x in [1] %}{% set l = loop %}{{ l.__class__ }}{% endfor %}",
    "{% for x in ''.__class__.__mro__ %}{{ x }}{% endfor %}", "{% for x in m %}{% endfor %}", "{% for k in message %}{{ message[k].__class__ }}{% endfor %}",
    # statements
    "{% import 'x' as y with context %}{{ y.__class__ }}", "{% from 'x' import __init__ %}", "{% include ['a', 'b'] ignore missing %}", "{% include m %}",
    "{% extends m %}", "{% block x %}{{ self.x() }}{% endblock %}", "{% block x required %}{% endblock %}", "{% autoescape false %}{{ '<class' }}{% endautoescape %}",
    "{% autoescape true %}{% endautoescape %}", "{% set ns.x = 1 %}", "{% set message.id = 1 %}", "{% set m = 'x' %}{{ m }}", "{% set __x = 1 %}{{ __x }}",
    "{% trans %}{{ x }}{% endtrans %}", "{% continue %}", "{% break %}", "{% exec 'import os' %}", "{% python %}", "{% filter attr('x') %}{% endfilter %}",
    "{% filter format(1) %}%s{% endfilter %}", "{% with x = ''.__class__ %}{{ x }}{% endwith %}", "{% if ''.__class__.__mro__ %}{% endif %}",
    "{% if false %}{{ x|eval }}{% endif %}", "{% if false %}{{ ''.__class__ }}{% endif %}", "{% if false %}{% include 'x' %}{% endif %}", "{{ 'x' if false }}",
    # filters and tests that others have
    "{{ [1]|map('attr', '__class__')|list }}", "{{ [1]|map(attribute='__class__')|list }}", "{{ [1]|selectattr('__class__')|list }}", "{{ [1]|groupby('x') }}",
    "{{ [1]|sort(attribute='__class__') }}", "{{ [1]|batch(2) }}", "{{ [1]|slice(2) }}", "{{ {'a': 1}|dictsort }}", "{{ {'a': 1}|items }}", "{{ {'a': 1}|xmlattr }}",
    "{{ 'x'|urlize }}", "{{ 'x'|pprint }}", "{{ 'x'|string }}", "{{ 'x'|forceescape }}", "{{ 'x'|center(999999999) }}", "{{ 'x'|indent(999999999) }}",
    "{{ 'x'|wordwrap(1) }}", "{{ [[1]]|sum(start=[]) }}", "{{ 'x'|random }}", "{{ 'x'|first }}", "{{ 'x'|turns of }}", "{{ 'x'|float }}", "{{ 'x' is iterable }}",
    "{{ 'x' is filter('upper') }}", "{{ 'x' is test('x') }}", "{{ 'x' is none }}",
    # paths
    "{{ m }}", "{{ m.read }}", "{{ m['PID-5'].raw }}", "{{ m['PID-5']['raw'] }}", "{{ m[PID-5.1] }}", "{{ m[message] }}", "{{ m['PID'~'-5'] }}", "{{ m['__class__'] }}",
    "{{ m['../../etc/passwd'] }}", "{{ m['PID-5.__class__'] }}", "{{ m[1] }}", "{{ m[1:2] }}", "{{ 'abc'[0:2] }}", "{{ PID-5|code('../../etc/passwd') }}",
    "{{ PID-5|code(PID-5.1) }}",
]  # fmt: skip

CONTENT = ["{{ 7*7 }}", "{% for x in y %}", "=7*7", "=PID-3", "'; DROP TABLE message; --", "<script>alert(1)</script>", "${7*7}"]
MORE_CONTENT = [
    "{{ self.__init__.__globals__ }}", "{{ ''.__class__.__mro__ }}", "{% import os %}", "#{7*7}", "${jndi:ldap://127.0.0.1/a}", "<%= 7*7 %>", "%s%s%n%x",
    "{0.__class__}", "%(x)s", "=cmd|' /C calc'!A0", "@SUM(1+1)", "+1+1", "-1+1", "=PID-5.1 | code('sex')", "secret://env/WARDLINE_CANARY", "${WARDLINE_CANARY}",
    "$(touch CANARY)", "`touch CANARY`", "; touch CANARY", "| touch CANARY", "../../../../etc/passwd", "file:///etc/passwd", "!!python/object/apply:os.system [id]",
    "*alias", "&anchor", "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>", "&e;", "]]>", "<![CDATA[x]]>", "<x xmlns='y'/>", "m['PID-5']", "omit", "null",
    "None", "true", "1e999999999", "NaN", "Infinity", "-0", "0x10", "\u202eabc", "a\u2028b", "\ufeffx", "ﷺ", "e\u0301", "𝓮", "'", '"', "\\", "\\u0041", "__class__", "*",
]  # fmt: skip
