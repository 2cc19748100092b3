import assert from 'node:assert/strict';
import test from 'node:test';
import { listingText } from '../../src/cli/listing.ts';
import { compileTemplate } from '../../src/cli/template.ts';

const data = {
  Id: 'abc',
  Name: '/web',
  State: { Pid: 12, Running: true, ExitCode: 0, Error: '' },
  Config: { Env: ['A=1', 'B=2'], Cmd: null, Labels: { a: 'x', 'b.c': 'y' }, Volumes: {} },
  Mounts: [
    { Source: '/s', Destination: '/d' },
    { Source: '/s2', Destination: '/d2' },
  ],
};

const RESULTS: [string, string][] = [
  ['plain text, no action', 'plain text, no action'],
  ['{{.State.Pid}}', '12'],
  ['{{ .State.Running }}', 'true'],
  ['{{json .State}}', '{"Pid":12,"Running":true,"ExitCode":0,"Error":""}'],
  ['{{json .Config.Cmd}}', 'null'],
  ['{{.Config.Env}} {{.Config.Labels}} {{.Config.Cmd}}', '[A=1 B=2] map[a:x b.c:y] <no value>'],
  ['{{range .Mounts}}{{.Source}}:{{.Destination}};{{end}}', '/s:/d;/s2:/d2;'],
  ['{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$i}}={{$e}}{{end}}', '0=A=1, 1=B=2'],
  ['{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}', 'a=x b.c=y '],
  ['{{range .Config.Volumes}}x{{else}}none{{end}}', 'none'],
  ['{{range .Mounts}}{{$.Id}}{{end}}', 'abcabc'],
  ['{{index .Config.Labels "b.c"}}', 'y'],
  ['{{index .Config.Labels "missing"}}', ''],
  ['{{index .Config.Env 1}}', 'B=2'],
  ['{{(index .Mounts 1).Source}}', '/s2'],
  ['{{if .State.Running}}up{{else}}down{{end}}', 'up'],
  ['{{if .State.ExitCode}}a{{else if .State.Error}}b{{else}}c{{end}}', 'c'],
  ['{{if eq .Name "/x" "/web"}}yes{{end}}', 'yes'],
  ['{{if and .State.Running (not .Config.Cmd)}}yes{{end}}', 'yes'],
  ['{{or .State.Error "none"}}', 'none'],
  ['{{and .State.Error .Config.Cmd.Missing}}', ''],
  ['{{with .State}}{{.Pid}} {{$.Id}}{{end}}', '12 abc'],
  ['{{len .Config.Env}} {{len .Id}} {{len .Config.Labels}}', '2 3 2'],
  ['{{join .Config.Env ","}}', 'A=1,B=2'],
  ['{{split "a/b" "/"}}', '[a b]'],
  ['{{upper .Id}} {{lower "ABC"}} {{title "hello"}}', 'ABC abc Hello'],
  ['{{.Name | upper | printf "<%s>"}}', '</WEB>'],
  [
    '{{printf "%-5s|%5d|%05d|%q|%v|%x|%t|%.1f|%%" .Id .State.Pid 42 .Name .Config.Env 255 true 1.25}}',
    'abc  |   12|00042|"/web"|[A=1 B=2]|ff|true|1.3|%',
  ],
  ['{{printf "%d" .Id}}', '%!d(abc)'],
  ['{{println .Id 1}}x', 'abc 1\nx'],
  ['{{print "a" 1 2 "b"}}', 'a1 2b'],
  ['{{slice .Id 1 2}} {{truncate "abcdef" 3}}', 'b abc'],
  ['a {{- .Id -}} b', 'aabcb'],
  ['{{/* a comment */}}x', 'x'],
  ['{{"a}}b"}} {{`raw\\n`}}', 'a}}b raw\\n'],
  ['{{$x := .Id}}{{range .Mounts}}{{$x = .Source}}{{end}}{{$x}}', '/s2'],
  ['{{gt 2 1}} {{le "a" "b"}} {{ne 1 1}}', 'true true false'],
];

for (const [source, expected] of RESULTS) {
  test(`template: ${source}`, () => assert.equal(compileTemplate(source)(data), expected));
}

const WRONG: [string, RegExp][] = [
  ['{{.Nope}}', /no field or key "Nope"/],
  ['{{.State.Pid.X}}', /no field or key "X"/],
  ['{{.Config.Cmd.X}}', /nil has no entry for key "X"/],
  ['{{.Id', /unclosed action/],
  ['{{if .Id}}x', /unexpected EOF/],
  ['{{end}}', /unexpected {{end}}/],
  ['{{foo .Id}}', /function "foo" not defined/],
  ['{{constructor}}', /function "constructor" not defined/],
  ['{{$x}}', /undefined variable "\$x"/],
  ['{{index .Config.Env 9}}', /index out of range/],
  ['{{}}', /missing value for command/],
  ['{{(.Id}}', /unclosed left paren/],
  ['{{.Id .Name}}', /non-function/],
  ['{{upper 1}}', /error calling upper/],
  ['{{.constructor}}', /no field or key/],
];

for (const [source, message] of WRONG) {
  test(`template: ${source} is refused`, () => {
    assert.throws(() => compileTemplate(source)(data), message);
  });
}

const listing = {
  headers: { ID: 'CONTAINER ID', Names: 'NAMES' },
  columns: ['ID', 'Names'],
  rows: [
    { ID: '1', Names: 'a', Label: (key: string) => `label-${key}` },
    { ID: '2', Names: 'b', Label: () => '' },
  ],
};

test('listing: the plain table, JSON a line, a template a line', async () => {
  assert.equal(await listingText(listing), 'CONTAINER ID   NAMES\n1              a\n2              b\n');
  assert.equal(await listingText(listing, 'json'), '{"ID":"1","Names":"a"}\n{"ID":"2","Names":"b"}\n');
  assert.equal(await listingText(listing, '{{.ID}}\\t{{.Names}} {{.Label "x"}}'), '1\ta label-x\n2\tb \n');
});

test('listing: a table by template has the titles of its fields', async () => {
  assert.equal(
    await listingText(listing, 'table {{.Names}}\\t{{.ID}}\\t{{.Label "x"}}'),
    'NAMES     CONTAINER ID   x\na         1              label-x\nb         2              \n',
  );
});
