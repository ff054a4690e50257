import { CreateMultipartUploadCommand } from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { OPERATIONS } from '../../src/features/s3/operations.ts';
import { MODES, send, sign } from './sign.ts';
import { startS3 } from './start.ts';
import { draftOf, prepare, VERBS } from './verbs.ts';

// The attacks prove that nothing gets in that should not; this, that everything else does.
test.each(MODES)('every operation can be signed as the specification says (%s)', async (mode) => {
  const s3 = await startS3();
  const uploadId = await prepare(s3);
  const other = await s3.client.send(new CreateMultipartUploadCommand({ Bucket: 'files', Key: 'm.bin' }));
  for (const { name } of VERBS) {
    const draft = draftOf(s3.endpoint, (name === 'AbortMultipartUpload' && other.UploadId) || uploadId, name);
    const answer = await send(s3.endpoint, sign(draft, { ...s3.key, mode }));
    expect([200, 204], `${name}: ${answer.text}`).toContain(answer.status);
  }
});

test('every operation is among the verbs', () => {
  const verbs = new Set(VERBS.map(({ name }) => name.split(' ')[0]));
  expect(OPERATIONS.filter(({ name }) => !verbs.has(name))).toEqual([]);
});
