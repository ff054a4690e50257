import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';

test('a browser app on any origin may call, with credentials and the headers it asks for', async () => {
  const { as } = await startApp();
  const origin = 'https://app.example.com';
  const preflight = await as('nobody').options('/api/database/records/todos', {
    origin,
    'access-control-request-method': 'PATCH',
    'access-control-request-headers': 'authorization,content-type,prefer,x-csrf-token,x-client-info',
  });
  expect(preflight.status).toBe(204);
  expect(preflight.headers).toMatchObject({
    'access-control-allow-origin': origin,
    'access-control-allow-credentials': 'true',
    'access-control-allow-headers': 'authorization,content-type,prefer,x-csrf-token,x-client-info',
    'access-control-allow-methods': expect.stringContaining('PATCH'),
  });
  const reply = await as('nobody').get('/api/health', { origin });
  expect(reply.headers['access-control-allow-origin']).toBe(origin);
  expect(reply.headers['access-control-expose-headers']).toMatch(/Content-Range.*Preference-Applied/);
});

test.each([
  { what: 'malformed JSON', body: '{"email": ', type: 'application/json' },
  { what: 'a poisoned prototype', body: '{"__proto__": {"admin": true}}', type: 'application/json' },
  { what: 'a body of a type that no route reads', body: 'x', type: 'application/x-unknown' },
])('$what is refused with the error envelope', async ({ body, type }) => {
  const { as } = await startApp();
  const reply = await as('admin').post('/api/usage/mcp', body, { 'content-type': type });
  expect(reply.status).toBeGreaterThanOrEqual(400);
  expect(reply.status).toBeLessThan(500);
  expect(reply.body).toMatchObject({ error: 'INVALID_INPUT', statusCode: reply.status, message: expect.any(String) });
});

test('a JSON content type without a body is tolerated', async () => {
  const { as } = await startApp();
  const headers = { 'content-type': 'application/json;charset=UTF-8' };
  expect((await as('admin').get('/api/metadata/api-key', headers)).status).toBe(200);
});
