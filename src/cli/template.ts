/** Go templates as Docker's `--format` takes them: the values. Pure. @see pkg.go.dev/text/template; docs.docker.com, Format output */
import { callFunction, FUNCTIONS, goText, truth } from './template-functions.ts';
import { type Block, type Node, type Operand, type Pipe, parseTemplate, templateError } from './template-parse.ts';

interface Scope {
  dot: unknown;
  variables: Map<string, unknown>;
  outer?: Scope;
}

/** A template, read once: gives its text for any value.
 *  @throws ERR_TSBOX_USAGE when it is no template; so does the function when the value has no such field */
export function compileTemplate(source: string): (data: unknown) => string {
  const nodes = parseTemplate(source);
  return (data) => {
    const out: string[] = [];
    execute(nodes, { dot: data, variables: new Map([['$', data]]) }, out);
    return out.join('');
  };
}

function execute(nodes: readonly Node[], scope: Scope, out: string[]): void {
  for (const node of nodes) {
    if (node.kind === 'text') out.push(node.text);
    else if (node.kind === 'print') {
      const value = evaluate(node.pipe, scope);
      if (node.pipe.variables.length === 0) out.push(goText(value));
    } else if (node.kind === 'range') executeRange(node, scope, out);
    else {
      const inner = child(scope);
      const value = evaluate(node.pipe, inner);
      if (!truth(value)) execute(node.otherwise, inner, out);
      else execute(node.body, node.kind === 'with' ? child(inner, value) : inner, out);
    }
  }
}

function child(outer: Scope, dot = outer.dot): Scope {
  return { dot, variables: new Map(), outer };
}

function executeRange(node: Block, scope: Scope, out: string[]): void {
  const { variables } = node.pipe;
  const over = evaluate({ ...node.pipe, variables: [] }, scope);
  const entries = entriesOf(over);
  if (entries.length === 0) execute(node.otherwise, scope, out);
  for (const [key, value] of entries) {
    const inner = child(scope, value);
    if (variables.length > 1) inner.variables.set(variables[0]!, key);
    if (variables.length > 0) inner.variables.set(variables.at(-1)!, value);
    execute(node.body, inner, out);
  }
}

/** What range goes over: a list with its numbers, a map by sorted keys. */
function entriesOf(value: unknown): [unknown, unknown][] {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value)) return [...value.entries()];
  if (typeof value === 'number') return Array.from({ length: value }, (_, index) => [index, index]);
  if (typeof value !== 'object') throw templateError(`range can't iterate over ${goText(value)}`);
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
    return callFunction(name, [...rest.map((each) => operand(each, scope)), ...last]);
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
      if (!(each.name in FUNCTIONS)) throw templateError(`function "${each.name}" not defined`);
      return callFunction(each.name, []);
  }
}

function scopeOf(name: string, scope: Scope): Scope {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.outer) if (at.variables.has(name)) return at;
  throw templateError(`undefined variable "${name}"`);
}

function walk(start: unknown, path: readonly string[]): unknown {
  let value = start;
  for (const name of path) {
    if (value === null || value === undefined) throw templateError(`nil has no entry for key "${name}"`);
    if (typeof value !== 'object' || !Object.hasOwn(value, name)) {
      throw templateError(`no field or key "${name}"`);
    }
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}
