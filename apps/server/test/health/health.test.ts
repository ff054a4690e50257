import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';

test('health answers anybody, with a version that clients can compare', async () => {
  const { as } = await startApp();
  const { status, body } = await as('nobody').get('/api/health');
  expect(status).toBe(200);
  expect(body).toEqual({
    status: 'ok',
    version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    service: 'insforge',
    timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
  });
});

test('an unknown path is answered as JSON, with advice', async () => {
  const { as } = await startApp();
  const { status, body } = await as('nobody').get('/api/nothing?x=secret');
  expect(status).toBe(404);
  expect(body).toEqual({
    error: 'NOT_FOUND',
    message: 'Endpoint /api/nothing not found',
    statusCode: 404,
    nextActions: expect.any(String),
  });
});
