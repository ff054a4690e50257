import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';

const CALL = { tool_name: 'run-raw-sql', success: false, timestamp: '2026-01-01T00:00:00Z' };

test('calls of tools are recorded with the API key', async () => {
  const { as, sql } = await startApp();
  expect(await as('admin').post('/api/usage/mcp', CALL)).toMatchObject({ status: 200, body: { success: true } });
  expect(await as('admin').post('/api/usage/mcp', { tool_name: 'get-docs' })).toMatchObject({ status: 200 });
  expect(await sql('select tool_name, success from system.mcp_usage order by created_at')).toEqual([
    { tool_name: 'run-raw-sql', success: false },
    { tool_name: 'get-docs', success: true },
  ]);
  expect((await as('admin').get('/api/usage/mcp')).body).toEqual({
    records: [{ tool_name: 'get-docs', success: true, created_at: expect.stringMatching(/Z$/) }],
  });
  expect((await as('admin').get('/api/usage/mcp?success=false&limit=1')).body.records).toMatchObject(
    [CALL].map(({ tool_name }) => ({ tool_name })),
  );
});

test('nobody else records calls', async () => {
  const { as, user, sql } = await startApp();
  for (const [who, status, error] of [
    ['nobody', 401, 'AUTH_INVALID_CREDENTIALS'],
    ['anon', 401, 'AUTH_INVALID_API_KEY'],
    [await user('alice'), 401, 'AUTH_INVALID_API_KEY'],
  ] as const) {
    expect(await as(who).post('/api/usage/mcp', CALL)).toMatchObject({ status, body: { error } });
  }
  expect(await sql('select from system.mcp_usage')).toEqual([]);
});

test.each([{}, { tool_name: '' }, { tool_name: 'x'.repeat(256) }, { tool_name: 'x', success: 'yes' }])(
  'what is no call is refused: %j',
  async (body) => {
    const { as } = await startApp();
    expect(await as('admin').post('/api/usage/mcp', body)).toMatchObject({
      status: 400,
      body: { error: 'INVALID_INPUT' },
    });
  },
);
