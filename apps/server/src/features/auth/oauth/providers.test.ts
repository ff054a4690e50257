import { OAUTH_PROVIDERS } from '@insforge/contract/oauth.ts';
import { expect, test } from 'vitest';
import { atOwnHost, mappedTraits, PROVIDERS } from './providers.ts';

test.each(OAUTH_PROVIDERS)('%s is spoken to over TLS, and says nothing about nobody', (name) => {
  const { profile, ...row } = PROVIDERS[name];
  const addresses = JSON.stringify(row).match(/"[a-z]+:\/\/[^"]+"/g) ?? [];
  expect(addresses.filter((address) => !address.startsWith('"https://'))).toEqual([]);
  expect(profile({}, undefined)).toMatchObject({ id: '', email: undefined });
  expect(profile({}, undefined).isEmailVerified ?? false).toBe(false);
});

test.each([
  {
    name: 'github',
    moved: {
      authorizeUrl: 'https://own.example/login/oauth/authorize',
      tokenUrl: 'https://own.example/login/oauth/access_token',
      userinfoUrl: 'https://own.example/api/v3/user',
      moreUrl: 'https://own.example/api/v3/user/emails',
      responseIssuer: 'https://own.example/login/oauth',
    },
  },
  { name: 'x', moved: { userinfoUrl: expect.stringMatching(/^https:\/\/own\.example\/2\/users\/me\?user\.fields=/) } },
  { name: 'gitlab', moved: { issuer: 'https://own.example' } },
  {
    name: 'apple',
    moved: {
      issuer: 'https://own.example',
      endpoints: {
        authorization_endpoint: 'https://own.example/auth/authorize',
        token_endpoint: 'https://own.example/auth/token',
        jwks_uri: 'https://own.example/auth/keys',
      },
    },
  },
] as const)('$name on a host of its own is nowhere else', ({ name, moved }) => {
  const row = atOwnHost(PROVIDERS[name], 'https://own.example');
  expect(row).toMatchObject(moved);
  expect(
    JSON.stringify(row)
      .match(/https:\/\/[\w.]+/g)
      ?.filter((origin) => origin !== 'https://own.example'),
  ).toEqual([]);
});

const { profile } = mappedTraits(
  { id: 'a.b', email: 'mail', emailVerified: 'sure', name: 'c.0.d', avatarUrl: 'e' },
  [],
);

test.each([
  {
    json: { a: { b: 7 } },
    expected: { id: '7', email: undefined, isEmailVerified: undefined, name: '', avatarUrl: '' },
  },
  { json: { a: { b: '' } }, expected: { id: '' } },
  { json: { a: 'b' }, expected: { id: '' } },
  { json: { a: null, c: [{ d: 'Dee' }] }, expected: { id: '', name: 'Dee' } },
  { json: { a: { b: true } }, expected: { id: '' } },
  { json: { mail: 'a@b.c', sure: 'true' }, expected: { email: 'a@b.c', isEmailVerified: true } },
  { json: { mail: 'a@b.c', sure: null }, expected: { isEmailVerified: false } },
  { json: { mail: ['a@b.c'], sure: 1 }, expected: { email: undefined, isEmailVerified: false } },
])('the mapping reads $json', ({ json, expected }) => {
  expect(profile(json, undefined)).toMatchObject(expected);
});
