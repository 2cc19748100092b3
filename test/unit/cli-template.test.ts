import assert from 'node:assert/strict';
import test from 'node:test';
import { durationText, inspected } from '../../src/cli/go-types.ts';
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
  ['{{index .Config.Labels "missing"}}', '<no value>'],
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
  ['{{printf "%d %s %t" .Id .State.Pid .Id}}', '%!d(string=abc) %!s(int=12) %!t(string=abc)'],
  ['{{printf "%X %x" 255 .Id}}', 'FF 616263'],
  ['{{"a\tb \\x41\\u00e9\\\\"}}', 'a\tb Aé\\'],
  ['{{println .Id 1}}x', 'abc 1\nx'],
  ['{{print "a" 1 2 "b"}}', 'a1 2b'],
  ['{{slice .Id 1 2}} {{truncate "abcdef" 3}}', 'b abc'],
  ['a {{- .Id -}} b', 'aabcb'],
  ['{{/* a comment */}}x', 'x'],
  ['{{"a}}b"}} {{`raw\\n`}}', 'a}}b raw\\n'],
  ['{{$x := .Id}}{{range .Mounts}}{{$x = .Source}}{{end}}{{$x}}', '/s2'],
  ['{{gt 2 1}} {{le "a" "b"}} {{ne 1 1}}', 'true true false'],
  ['{{range .Config.Env}}{{.}}{{break}}{{end}}', 'A=1'],
  ['{{range .Config.Env}}{{if eq . "A=1"}}{{continue}}{{end}}{{.}}{{end}}', 'B=2'],
  ['{{define "T"}}[{{.}}]{{end}}{{template "T" .Id}}', '[abc]'],
  ['{{block "B" .Id}}<{{.}}>{{end}}', '<abc>'],
  ['{{html "<a>"}} {{js "a\'b"}} {{urlquery "a b&c"}}', "&lt;a&gt; a\\'b a+b%26c"],
  ['{{"/e3 x_y" | title}}', '/E3 X_y'],
];

for (const [source, expected] of RESULTS) {
  test(`template: ${source}`, () => assert.equal(compileTemplate(source)(data), expected));
}

const WRONG: [string, RegExp][] = [
  ['{{.Nope}}', /map has no entry for key "Nope"/],
  ['{{.State.Pid.X}}', /can't evaluate field X/],
  ['{{.Config.Cmd.X}}', /nil has no entry for key "X"/],
  ['{{.Id', /unclosed action/],
  ['{{if .Id}}x', /unexpected EOF/],
  ['{{end}}', /unexpected {{end}}/],
  ['{{foo .Id}}', /function "foo" not defined/],
  ['{{constructor}}', /function "constructor" not defined/],
  ['{{$x}}', /undefined variable "\$x"/],
  ['{{index .Config.Env 9}}', /index out of range/],
  ['{{slice .Id 1 9}}', /index out of range: 9/],
  ['{{slice .Config.Env 2 1}}', /invalid slice index: 2 > 1/],
  ['{{"\\z"}}', /cannot unquote/],
  ['{{"\n"}}', /cannot unquote/],
  ['{{break}}', /{{break}} outside {{range}}/],
  ['{{template "T"}}', /template "T" not defined/],
  ['{{eq .Id 1}}', /incompatible types for comparison/],
  ['{{join .Id ","}}', /error calling join/],
  ['{{nil}}', /nil is not a command/],
  ['{{}}', /missing value for command/],
  ['{{(.Id}}', /unclosed left paren/],
  ['{{.Id .Name}}', /non-function/],
  ['{{upper 1}}', /error calling upper/],
  ['{{.constructor}}', /map has no entry for key/],
];

for (const [source, message] of WRONG) {
  test(`template: ${source} is refused`, () => {
    assert.throws(() => compileTemplate(source)(data), message);
  });
}

// As JSON has it: fields are left out that are empty.
const container = inspected('container', {
  Id: 'abc',
  Created: '2024-05-01T10:00:00.5Z',
  State: { Status: 'exited', Running: false, ExitCode: 3 },
  Config: {
    Cmd: null,
    Labels: { a: 'x' },
    ExposedPorts: { '80/tcp': {} },
    Healthcheck: { Test: ['NONE'], Interval: 9e10 },
  },
  HostConfig: { Binds: null, RestartPolicy: { Name: 'no', MaximumRetryCount: 0 }, PidsLimit: null },
  NetworkSettings: { Ports: {}, Networks: { none: { IPAddress: '' } } },
});

const OF_CONTAINER: [string, string][] = [
  ['{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{json .State.Health}}', 'none null'],
  ['{{.ID}} {{.SizeRw}} {{json .SizeRw}}', 'abc <nil> null'],
  ['{{.Config.StopSignal}}|{{.Config.StopTimeout}}|{{.HostConfig.PidsLimit}}', '|<nil>|<nil>'],
  ['{{.Config.Labels.none}} {{.NetworkSettings.Networks.other.IPAddress}}', '<no value> <no value>'],
  [
    '{{index .Config.Labels "none"}}|{{len .HostConfig.Binds}} {{.HostConfig.Binds}} {{json .HostConfig.Binds}}',
    '|0 [] null',
  ],
  ['{{.HostConfig.RestartPolicy}} {{json .HostConfig.RestartPolicy}}', '{no 0} {"Name":"no","MaximumRetryCount":0}'],
  ['{{.Config.ExposedPorts}} {{range $port, $_ := .Config.ExposedPorts}}{{$port}}{{end}}', 'map[80/tcp:{}] 80/tcp'],
  ['{{.Config.Healthcheck}} {{printf "%d" .Config.Healthcheck.Interval}}', '{[NONE] 1m30s 0s 0s 0} 90000000000'],
  ['{{range .Mounts}}x{{else}}no mounts{{end}}', 'no mounts'],
  ['{{index .NetworkSettings.Ports "80/tcp"}} {{index .NetworkSettings.Networks "other"}}', '<no value> <no value>'],
];

for (const [source, expected] of OF_CONTAINER) {
  test(`template of a container: ${source}`, () => assert.equal(compileTemplate(source)(container), expected));
}

test('template of a container: what its type does not have', () => {
  for (const source of ['{{.Nope}}', '{{.State.Nope}}', '{{.State.Health.Status}}', '{{index .HostConfig.Binds 0}}'])
    assert.throws(() => compileTemplate(source)(container), { code: 'ERR_TSBOX_USAGE' }, source);
});

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

test('listing: a tab within quotes, a table without a blank, blanks around', async () => {
  assert.equal(await listingText(listing, '{{printf "%s\\t%s" .ID .Names}}'), '1\ta\n2\tb\n');
  assert.equal(await listingText(listing, 'table{{.Names}}'), 'NAMES\na\nb\n');
  assert.equal(await listingText(listing, ' {{.ID}} '), '1\n2\n');
  await assert.rejects(listingText(listing, '{{.Nope}}'), /can't evaluate field Nope/);
});

test('listing: the title of a column is not what its function makes of values', async () => {
  assert.equal(
    await listingText(listing, 'table {{json .Names}}\\t{{truncate .ID 1}}'),
    'NAMES     CONTAINER ID\n"a"       1\n"b"       2\n',
  );
});

test('a duration as Go prints it', () => {
  const texts = [0, 5, 1500, 2e6, 1.5e9, 6e10, 3_723_000_000_000].map(durationText);
  assert.deepEqual(texts, ['0s', '5ns', '1.5µs', '2ms', '1.5s', '1m0s', '1h2m3s']);
});
