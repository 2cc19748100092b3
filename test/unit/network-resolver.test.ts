import assert from 'node:assert/strict';
import test from 'node:test';
import { resolverSteps } from '../../src/engine/resolver.ts';
import type { Endpoint } from '../../src/spec/network.ts';

const ID = 'a0'.repeat(32);
const store = { runRoot: '/run/tsbox' };

function endpoint(names: string[]): Endpoint {
  return { networkId: 'f0', network: 'n', interface: 'eth0', port: 'veth0', mac: '', address: '172.18.0.2/16', names };
}

function words(dns: string[], networks: { Internal: boolean }[]): string {
  const [step] = resolverSteps(store, ID, { Dns: dns }, [endpoint([]), endpoint(['web'])], networks);
  return step?.op === 'run' ? JSON.stringify(step.args.slice(1)) : '';
}

test('the resolver: only where containers have names', () => {
  assert.deepEqual(resolverSteps(store, ID, {}, [endpoint([])], [{ Internal: false }]), []);
});

test('the resolver: asks the servers of --dns, and nobody when all networks are internal', () => {
  const asked = words(['9.9.9.9', '::1'], [{ Internal: true }, { Internal: false }]);
  assert.match(asked, /"--run-root","\/run\/tsbox","--id","(a0){32}","--upstream","9\.9\.9\.9,::1"\]$/);
  assert.match(words(['9.9.9.9'], [{ Internal: true }]), /"--no-forward"\]$/);
});
