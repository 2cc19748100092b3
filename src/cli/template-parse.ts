/** Go templates as Docker's `--format` takes them: from text to a tree. Pure. @see pkg.go.dev/text/template */
import { TsboxError } from '../errors.ts';

export type Node =
  | { kind: 'text'; text: string }
  | { kind: 'print'; pipe: Pipe }
  | { kind: 'break' | 'continue' }
  | { kind: 'template'; name: string; pipe: Pipe | undefined }
  | Block;

export interface Block {
  kind: 'if' | 'with' | 'range';
  pipe: Pipe;
  body: Node[];
  otherwise: Node[];
}

/** `$a, $b := first | second`: each command gets the result of the one before as its last argument. */
export interface Pipe {
  variables: string[];
  assigns: boolean;
  commands: Operand[][];
}

/** `path` holds the fields that follow: `(index .A 0).B.C`. */
export type Operand =
  | { kind: 'dot'; path: string[] }
  | { kind: 'variable'; name: string; path: string[] }
  | { kind: 'function'; name: string }
  | { kind: 'literal'; value: unknown }
  | { kind: 'pipe'; pipe: Pipe; path: string[] };

/** @throws ERR_TSBOX_USAGE: what is wrong with the template */
export function templateError(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', `template parsing error: ${message}`);
}

/** The tree of a template, and those that it names within. @throws ERR_TSBOX_USAGE when it is none */
export function parseTemplate(
  source: string,
  isFunction: (name: string) => boolean,
): { nodes: Node[]; templates: Map<string, Node[]> } {
  const pieces = splitActions(source);
  const reader: Reader = { pieces, at: 0, ranges: 0, templates: new Map(), isFunction };
  const nodes = readNodes(reader);
  const rest = pieces[reader.at];
  if (rest !== undefined) throw templateError(`unexpected {{${rest.text}}}`);
  return { nodes, templates: reader.templates };
}

interface Piece {
  action: boolean;
  text: string;
}
interface Reader {
  pieces: Piece[];
  at: number;
  /** How many there are around this place. */
  ranges: number;
  templates: Map<string, Node[]>;
  isFunction: (name: string) => boolean;
}

/** Text and actions; `{{-` and `-}}` take the white space beside them away, comments are left out. */
function splitActions(source: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  let trim = false;
  while (at < source.length) {
    const open = source.indexOf('{{', at);
    let text = source.slice(at, open < 0 ? undefined : open);
    if (trim) text = text.trimStart();
    const trimsBefore = open >= 0 && /^\{\{-\s/.test(source.slice(open, open + 4));
    if (trimsBefore) text = text.trimEnd();
    if (text !== '') pieces.push({ action: false, text });
    if (open < 0) return pieces;
    const close = closing(source, open + 2);
    let inside = source.slice(open + (trimsBefore ? 3 : 2), close);
    trim = /\s-$/.test(inside);
    if (trim) inside = inside.slice(0, -1);
    inside = inside.trim();
    if (!/^\/\*[\s\S]*\*\/$/.test(inside)) pieces.push({ action: true, text: inside });
    at = close + 2;
  }
  return pieces;
}

/** Where the action that begins at `from` has its `}}`, not counting those in strings. */
function closing(source: string, from: number): number {
  const token = /"(?:\\.|[^"\\])*"|`[^`]*`|\}\}/g;
  token.lastIndex = from;
  for (let match = token.exec(source); match !== null; match = token.exec(source)) {
    if (match[0] === '}}') return match.index;
  }
  throw templateError('unclosed action');
}

/** Nodes up to an `end`, an `else` or the end of the template. */
function readNodes(reader: Reader): Node[] {
  const nodes: Node[] = [];
  for (let piece = reader.pieces[reader.at]; piece !== undefined; piece = reader.pieces[reader.at]) {
    if (!piece.action) {
      nodes.push({ kind: 'text', text: piece.text });
      reader.at++;
      continue;
    }
    const [, word = '', rest = ''] = /^(\w*)\s*([\s\S]*)$/.exec(piece.text) ?? [];
    if (word === 'end' || word === 'else') return nodes;
    reader.at++;
    const node = readAction(reader, piece.text, word, rest);
    if (node !== undefined) nodes.push(node);
  }
  return nodes;
}

function readAction(reader: Reader, text: string, word: string, rest: string): Node | undefined {
  switch (word) {
    case 'if':
    case 'with':
    case 'range':
      return readBlock(reader, word, rest);
    case 'break':
    case 'continue':
      if (rest !== '') throw templateError(`unexpected ${JSON.stringify(rest)} in ${word}`);
      if (reader.ranges === 0) throw templateError(`{{${word}}} outside {{range}}`);
      return { kind: word };
    case 'define':
    case 'block':
    case 'template':
      return readNamed(reader, word, rest);
    default:
      return { kind: 'print', pipe: parsePipe(reader, text, 'command') };
  }
}

/** `define "name"`, `block "name" pipe`, which is defined and used at once, `template "name" pipe`. */
function readNamed(reader: Reader, word: 'define' | 'block' | 'template', rest: string): Node | undefined {
  const [, quoted, given = ''] = /^("(?:\\.|[^"\\])*"|`[^`]*`)\s*([\s\S]*)$/.exec(rest) ?? [];
  if (quoted === undefined) throw templateError(`unexpected ${JSON.stringify(rest)} in ${word} clause`);
  const name = quoted.startsWith('`') ? quoted.slice(1, -1) : unquote(quoted);
  const pipe = given === '' && word !== 'block' ? undefined : parsePipe(reader, given, `${word} clause`);
  if (word === 'template') return { kind: 'template', name, pipe };
  const { ranges } = reader;
  reader.ranges = 0;
  reader.templates.set(name, readNodes(reader));
  reader.ranges = ranges;
  if (reader.pieces[reader.at++]?.text !== 'end') throw templateError('unexpected EOF');
  return word === 'block' ? { kind: 'template', name, pipe } : undefined;
}

function readBlock(reader: Reader, kind: Block['kind'], condition: string): Block {
  const pipe = parsePipe(reader, condition, kind);
  const loops = kind === 'range' ? 1 : 0;
  reader.ranges += loops;
  const node: Block = { kind, pipe, body: readNodes(reader), otherwise: [] };
  reader.ranges -= loops;
  const piece = reader.pieces[reader.at++];
  if (piece === undefined) throw templateError('unexpected EOF');
  if (piece.text === 'end') return node;
  const [, next, rest = ''] = /^else(?:\s+(if|with)\s+([\s\S]*))?$/.exec(piece.text) ?? [];
  if (next !== undefined) {
    node.otherwise = [readBlock(reader, next as 'if' | 'with', rest)];
    return node;
  }
  node.otherwise = readNodes(reader);
  if (reader.pieces[reader.at++]?.text !== 'end') throw templateError('unexpected EOF');
  return node;
}

const TOKEN =
  /\s*("(?:\\.|[^"\\])*"|`[^`]*`|'(?:\\.|[^'\\])'|[-+]?\d[\w.]*|\$?\w*(?:\.\w+)+|\.|\$\w*|\w+|:=|=|\||,|\(|\))(\s*)/y;

interface Token {
  text: string;
  /** A blank before it: `(index .A 0) .B` are two operands, `(index .A 0).B` is one. */
  apart: boolean;
}

function tokens(source: string): Token[] {
  const found: Token[] = [];
  let at = 0;
  let apart = true;
  while (at < source.length) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(source);
    if (match === null) throw templateError(`unexpected ${JSON.stringify(source.slice(at, at + 10))} in operand`);
    found.push({ text: match[1]!, apart: apart || /^\s/.test(match[0]) });
    apart = match[2] !== '';
    at = TOKEN.lastIndex;
  }
  return found;
}

/** @param where it stands, for the error when there is nothing */
function parsePipe({ isFunction }: Reader, source: string, where: string): Pipe {
  const list = tokens(source);
  if (list.length === 0) throw templateError(`missing value for ${where}`);
  const pipe = readPipe(list, isFunction);
  if (list.length > 0) throw templateError(`unexpected ${JSON.stringify(list[0]!.text)} in operand`);
  return pipe;
}

/** Takes one pipe off the list of tokens, up to a closing parenthesis. */
function readPipe(list: Token[], isFunction: Reader['isFunction']): Pipe {
  const pipe: Pipe = { variables: [], assigns: false, commands: [[]] };
  const assign = list.findIndex(({ text }) => text === ':=' || text === '=');
  if (list[0]?.text.startsWith('$') === true && (assign === 1 || (assign === 3 && list[1]?.text === ','))) {
    pipe.assigns = list[assign]!.text === '=';
    pipe.variables = list.splice(0, assign + 1).flatMap(({ text }) => (text.startsWith('$') ? [text] : []));
  }
  while (list.length > 0 && list[0]!.text !== ')') {
    if (list[0]!.text === '|') {
      list.shift();
      pipe.commands.push([]);
    } else pipe.commands.at(-1)!.push(readOperand(list, isFunction));
  }
  if (pipe.commands.some((command) => command.length === 0)) throw templateError('missing value for command');
  for (const [first, ...rest] of pipe.commands)
    if (first!.kind === 'literal' && first!.value === null) throw templateError('nil is not a command');
    else if (first!.kind === 'literal' && rest.length > 0) throw templateError("can't give argument to non-function");
  return pipe;
}

const fields = (text: string): string[] => text.split('.').filter((name) => name !== '');

function readOperand(list: Token[], isFunction: Reader['isFunction']): Operand {
  const { text } = list.shift()!;
  if (text === '(') {
    const pipe = readPipe(list, isFunction);
    if (list.shift()?.text !== ')') throw templateError('unclosed left paren');
    const next = list[0];
    const follows = next !== undefined && !next.apart && next.text.startsWith('.') && next.text !== '.';
    return { kind: 'pipe', pipe, path: follows ? fields(list.shift()!.text) : [] };
  }
  if (text.startsWith('"')) return { kind: 'literal', value: unquote(text) };
  if (text.startsWith('`')) return { kind: 'literal', value: text.slice(1, -1) };
  if (text.startsWith("'")) return { kind: 'literal', value: unquote(`"${text.slice(1, -1)}"`).codePointAt(0) };
  if (/^[-+]?\d/.test(text)) return { kind: 'literal', value: number(text) };
  if (text.startsWith('.')) return { kind: 'dot', path: fields(text) };
  if (text.startsWith('$')) {
    const [name = '$', ...path] = text.split('.');
    return { kind: 'variable', name, path };
  }
  if (text === 'true' || text === 'false') return { kind: 'literal', value: text === 'true' };
  if (text === 'nil') return { kind: 'literal', value: null };
  if (/^\w+$/.test(text)) {
    if (!isFunction(text)) throw templateError(`function "${text}" not defined`);
    return { kind: 'function', name: text };
  }
  throw templateError(`unexpected ${JSON.stringify(text)} in operand`);
}

function number(text: string): number {
  const value = Number(text);
  if (Number.isNaN(value)) throw templateError(`bad number syntax: ${JSON.stringify(text)}`);
  return value;
}

const ESCAPE = /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|(.?))/gs;
const LETTERS = 'abfnrtv\\\'"';
const MEANT = '\x07\b\f\n\r\t\v\\\'"';

/** What is within the quotes, with Go's escapes; a tab may stand there as it is. */
function unquote(text: string): string {
  const refuse = () => templateError(`cannot unquote ${text}`);
  if (text.includes('\n')) throw refuse();
  return text.slice(1, -1).replace(ESCAPE, (_, x?: string, u?: string, long?: string, letter = '') => {
    const code = x ?? u ?? long;
    if (code !== undefined) return String.fromCodePoint(Number.parseInt(code, 16));
    if (letter === '' || !LETTERS.includes(letter)) throw refuse();
    return MEANT[LETTERS.indexOf(letter)]!;
  });
}
