/** Go templates as Docker's `--format` takes them: the values. Pure. @see pkg.go.dev/text/template; docs.docker.com, Format output */
import { GoNil, GoStruct, isGoMap } from './go-types.ts';
import { callFunction, FUNCTIONS, goText, TITLE_FUNCTIONS, truth } from './template-functions.ts';
import { type Block, type Node, type Operand, type Pipe, parseTemplate, templateError } from './template-parse.ts';

interface Scope {
  dot: unknown;
  variables: Map<string, unknown>;
  outer?: Scope;
  /** What `define` has named. */
  templates: ReadonlyMap<string, readonly Node[]>;
  functions: typeof FUNCTIONS;
}

/** What ends a list of nodes before its end. */
type Leave = 'break' | 'continue' | undefined;

/** A template, read once: gives its text for any value.
 *  `forTitle` is for the title of a table's column, which functions leave as it is.
 *  @throws ERR_TSBOX_USAGE when it is no template; so does the function when the value has no such field */
export function compileTemplate(source: string): (data: unknown, forTitle?: boolean) => string {
  const { nodes, templates } = parseTemplate(source, (name) => Object.hasOwn(FUNCTIONS, name));
  return (data, forTitle = false) => {
    const out: string[] = [];
    execute(nodes, outermost(data, templates, forTitle ? TITLE_FUNCTIONS : FUNCTIONS), out);
    return out.join('');
  };
}

function outermost(data: unknown, templates: Scope['templates'], functions: Scope['functions']): Scope {
  return { dot: data, variables: new Map([['$', data]]), templates, functions };
}

function execute(nodes: readonly Node[], scope: Scope, out: string[]): Leave {
  for (const node of nodes) {
    const leave = executeNode(node, scope, out);
    if (leave !== undefined) return leave;
  }
  return undefined;
}

function executeNode(node: Node, scope: Scope, out: string[]): Leave {
  switch (node.kind) {
    case 'text':
      out.push(node.text);
      return undefined;
    case 'print': {
      const value = evaluate(node.pipe, scope);
      if (node.pipe.variables.length === 0) out.push(goText(value));
      return undefined;
    }
    case 'range':
      return executeRange(node, scope, out);
    case 'break':
    case 'continue':
      return node.kind;
    case 'template': {
      const called = scope.templates.get(node.name);
      if (called === undefined) throw templateError(`template ${JSON.stringify(node.name)} not defined`);
      const data = node.pipe === undefined ? undefined : evaluate(node.pipe, scope);
      return execute(called, outermost(data, scope.templates, scope.functions), out);
    }
    default: {
      const inner = child(scope);
      const value = evaluate(node.pipe, inner);
      if (!truth(value)) return execute(node.otherwise, inner, out);
      return execute(node.body, node.kind === 'with' ? child(inner, value) : inner, out);
    }
  }
}

function child(outer: Scope, dot = outer.dot): Scope {
  return { dot, variables: new Map(), outer, templates: outer.templates, functions: outer.functions };
}

function executeRange(node: Block, scope: Scope, out: string[]): Leave {
  const { variables } = node.pipe;
  const over = evaluate({ ...node.pipe, variables: [] }, scope);
  const entries = entriesOf(over);
  if (entries.length === 0) return execute(node.otherwise, scope, out);
  for (const [key, value] of entries) {
    const inner = child(scope, value);
    if (variables.length > 1) inner.variables.set(variables[0]!, key);
    if (variables.length > 0) inner.variables.set(variables.at(-1)!, value);
    if (execute(node.body, inner, out) === 'break') break;
  }
  return undefined;
}

/** What range goes over: a list with its numbers, a map by sorted keys. */
function entriesOf(value: unknown): [unknown, unknown][] {
  if (value === null || value === undefined || value instanceof GoNil) return [];
  if (Array.isArray(value)) return [...value.entries()];
  if (typeof value === 'number') return Array.from({ length: value }, (_, index) => [index, index]);
  if (typeof value !== 'object' || value instanceof GoStruct)
    throw templateError(`range can't iterate over ${goText(value)}`);
  return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
}

function evaluate(pipe: Pipe, scope: Scope): unknown {
  let value: unknown;
  pipe.commands.forEach((command, index) => {
    value = runCommand(command, scope, index === 0 ? [] : [value]);
  });
  const name = pipe.variables[0];
  if (name !== undefined) {
    const owner = pipe.assigns ? scopeOf(name, scope) : scope;
    owner.variables.set(name, value);
  }
  return value;
}

function runCommand(command: readonly Operand[], scope: Scope, last: unknown[]): unknown {
  const [first, ...rest] = command;
  if (first?.kind !== 'function') {
    // Docker's rows have one method: {{.Label "key"}}.
    const value = operand(first!, scope);
    if (typeof value === 'function') return value(...rest.map((each) => operand(each, scope)), ...last);
    if (rest.length + last.length > 0) throw templateError("can't give argument to non-function");
    return value;
  }
  const { name } = first;
  if (name !== 'and' && name !== 'or')
    return callFunction(scope.functions, name, [...rest.map((each) => operand(each, scope)), ...last]);
  // These two look at no more operands than they need.
  let value: unknown;
  for (const each of [...rest.map((each) => () => operand(each, scope)), ...last.map((each) => () => each)]) {
    value = each();
    if (truth(value) === (name === 'or')) return value;
  }
  return value;
}

function operand(each: Operand, scope: Scope): unknown {
  switch (each.kind) {
    case 'literal':
      return each.value;
    case 'dot':
      return walk(scope.dot, each.path);
    case 'variable':
      return walk(scopeOf(each.name, scope).variables.get(each.name), each.path);
    case 'pipe':
      return walk(evaluate(each.pipe, child(scope)), each.path);
    case 'function':
      return callFunction(scope.functions, each.name, []);
  }
}

function scopeOf(name: string, scope: Scope): Scope {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.outer) if (at.variables.has(name)) return at;
  throw templateError(`undefined variable "${name}"`);
}

function walk(start: unknown, path: readonly string[]): unknown {
  let value = start;
  for (const name of path) value = field(value, name);
  return value;
}

function field(value: unknown, name: string): unknown {
  if (value instanceof GoStruct) {
    const found = value.field(name);
    if (found === undefined) throw templateError(`can't evaluate field ${name} in type ${value.type}`);
    return found.value;
  }
  if (value instanceof GoNil && value.kind === 'pointer') throw templateError(`nil pointer evaluating ${name}`);
  // What a map does not have has no fields, and no value.
  if (value === undefined || (value instanceof GoNil && value.kind === 'map')) return undefined;
  if (value === null) throw templateError(`nil has no entry for key "${name}"`);
  if (typeof value !== 'object' || Array.isArray(value))
    throw templateError(`can't evaluate field ${name} in type ${Array.isArray(value) ? 'list' : typeof value}`);
  if (!Object.hasOwn(value, name)) {
    if (isGoMap(value)) return undefined;
    throw templateError(`can't evaluate field ${name}: map has no entry for key "${name}"`);
  }
  return (value as Record<string, unknown>)[name];
}
