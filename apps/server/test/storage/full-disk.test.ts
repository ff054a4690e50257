import { randomBytes } from 'node:crypto';
import { stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import sharp from 'sharp';
import { expect, onTestFinished, test } from 'vitest';
import { startS3, type TestS3 } from '../s3/start.ts';
import { scratchFolder } from '../start/process.ts';
import { type Disk, mountDisk } from './disk.ts';
import { makeBucket, objectPath, storedFiles, upload } from './files.ts';
import {
  Bucket,
  beginMultipart,
  beginTus,
  FULL,
  FULL_IN_S3,
  Key,
  outcomeOf,
  restOutcome,
  SOURCE,
  WAYS,
  type Way,
} from './ways-to-write.ts';

const KILOBYTE = 1024;
const MEGABYTE = 1024 * KILOBYTE;
const NO_DISK = 'mounting a small disk needs root';

/** A server whose files lie on a disk that can be filled. */
async function startOnDisk(disk: Disk): Promise<TestS3 & { dataDir: string }> {
  const dataDir = await scratchFolder();
  await symlink(disk.folder, join(dataDir, 'storage'));
  const server = await startS3({ DATA_DIR: dataDir });
  await makeBucket(server, Bucket);
  return { ...server, dataDir };
}

/** All that a server keeps. */
const snapshot = async (server: Awaited<ReturnType<typeof startOnDisk>>) => ({
  ...(await server.stored()),
  files: await storedFiles(server.dataDir),
});

test.for(WAYS)(
  'on a full disk $way is refused with 507 and leaves nothing; with room again it succeeds',
  async ({ refusal, scarce, isPart, prepare }, { skip }) => {
    const disk = await mountDisk(16 * MEGABYTE);
    if (!disk) return skip(NO_DISK);
    const server = await startOnDisk(disk);
    const content = randomBytes(5 * MEGABYTE + 100 * KILOBYTE);
    const write = await prepare(server, content);
    const before = await snapshot(server);
    await (scarce === 'names' ? disk.fillNames() : disk.fill(MEGABYTE));
    expect(await write()).toEqual(refusal);
    expect(await write()).toEqual(refusal);
    expect(await snapshot(server)).toEqual(before);
    await disk.free();
    expect(await write()).toMatchObject({ code: undefined });
    if (isPart) return;
    const { Body } = await server.client.send(new GetObjectCommand({ Bucket, Key }));
    expect(content.equals((await Body?.transformToByteArray()) ?? Buffer.alloc(0))).toBe(true);
  },
);

test('an upload of the tus protocol whose parts fit but not their sum is completed when there is room', async ({
  skip,
}) => {
  const disk = await mountDisk(16 * MEGABYTE);
  if (!disk) return skip(NO_DISK);
  const server = await startOnDisk(disk);
  const content = randomBytes(6 * MEGABYTE);
  const { patch, head } = await beginTus(server, Key, content.length);
  expect(await patch(0, content.subarray(0, 3 * MEGABYTE))).toMatchObject({ status: 204 });
  await disk.fill(4 * MEGABYTE);
  expect(await patch(3 * MEGABYTE, content.subarray(3 * MEGABYTE))).toEqual(FULL);
  expect((await server.stored()).objects).toEqual([]);
  expect(await storedFiles(server.dataDir)).toHaveLength(2);
  expect((await head()).status).toBe(507);
  await disk.free();
  expect(await head()).toEqual({ status: 200, offset: content.length });
  expect((await server.stored()).objects).toEqual([`${Bucket}/${Key}`]);
  await expect.poll(() => storedFiles(server.dataDir)).toHaveLength(1);
});

test('on a full disk images are changed as before, and the changed ones are not kept', async ({ skip }) => {
  const disk = await mountDisk(MEGABYTE);
  if (!disk) return skip(NO_DISK);
  const server = await startOnDisk(disk);
  const size = { width: 300, height: 300 };
  const image = await sharp({ create: { ...size, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  expect((await upload(server.as('admin'), Bucket, 'image', image, 'image/png')).status).toBe(200);
  await disk.fill();
  const changed = () => server.as('admin').get(`${objectPath(Bucket, 'image')}?width=100`);
  const small = await changed();
  expect(small).toMatchObject({ status: 200, headers: { 'content-type': 'image/png' } });
  expect(await storedFiles(server.dataDir)).toEqual([]);
  await disk.free();
  expect(await changed()).toMatchObject({ status: 200, headers: { etag: small.headers.etag } });
  expect(await storedFiles(server.dataDir)).toHaveLength(1);
});

test('on a full disk files are moved, replaced by small ones, and deleted, which makes room', async ({ skip }) => {
  const disk = await mountDisk(MEGABYTE);
  if (!disk) return skip(NO_DISK);
  const server = await startOnDisk(disk);
  const admin = server.as('admin');
  const first = objectPath(Bucket, 'first');
  expect((await upload(admin, Bucket, 'first', Buffer.alloc(500 * KILOBYTE, 'a'))).status).toBe(200);
  await disk.fill();
  expect((await upload(admin, Bucket, 'small', 'b')).status).toBe(200);
  expect((await admin.post(`${first}/move`, { to: 'moved' })).status).toBe(200);
  expect((await upload(admin, Bucket, 'second', Buffer.alloc(400 * KILOBYTE))).status).toBe(507);
  expect((await admin.get(objectPath(Bucket, 'moved'))).text).toBe('a'.repeat(500 * KILOBYTE));
  expect((await admin.delete(objectPath(Bucket, 'moved'))).status).toBe(200);
  await expect.poll(() => storedFiles(server.dataDir)).toEqual([]);
  expect((await upload(admin, Bucket, 'second', Buffer.alloc(400 * KILOBYTE))).status).toBe(200);
});

/** A server with a bucket, and a disk that its owner can put tables on. */
async function startWithTablespace() {
  const dataDir = await scratchFolder();
  const server = await startS3({ DATA_DIR: dataDir });
  await makeBucket(server, Bucket);
  const [setting] = await server.sql<{ data_directory: string }>('show data_directory');
  const { uid } = await stat(setting?.data_directory ?? '');
  const disk = await mountDisk(MEGABYTE, uid);
  if (!disk) return undefined;
  const name = `disk_${randomBytes(4).toString('hex')}`;
  await server.sql(`create tablespace ${name} location '${disk.folder}'`);
  const tables: string[] = [];
  onTestFinished(async () => {
    await disk.free();
    // Even to empty a table would take room.
    for (const table of tables) await server.sql(`drop table ${table} cascade`);
    await server.sql(`drop tablespace ${name}`);
  });
  return {
    server: { ...server, dataDir },
    disk,
    move: async (table: string) => {
      tables.push(table);
      await server.sql(`alter table ${table} set tablespace ${name}`);
    },
  };
}

test('a full disk under the database refuses what would be kept in rows, and nothing else', async ({ skip }) => {
  const started = await startWithTablespace();
  if (!started) return skip(NO_DISK);
  const { server, move } = started;
  await move('storage.objects');
  const admin = server.as('admin');
  const contents = Array.from({ length: 30 }, () => randomBytes(50 * KILOBYTE));
  const replies = await Promise.all(contents.map((content, index) => upload(admin, Bucket, `f${index}`, content)));
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200, 507]));
  expect(replies.find(({ status }) => status === 507)?.body).toMatchObject({
    error: 'STORAGE_INSUFFICIENT_QUOTA',
    nextActions: expect.stringContaining('room'),
  });
  const stored = replies.filter(({ status }) => status === 200).length;
  expect((await server.stored()).objects).toHaveLength(stored);
  expect((await admin.get('/api/health')).status).toBe(200);
});

const ROWS: (Way & { table: string })[] = [
  // An upload of the tus protocol stays as it is until its row can be written: its own test is above.
  ...WAYS.filter(({ way }) => way !== 'the tus protocol').map((way) => ({
    ...way,
    table: way.isPart ? 'storage.upload_parts' : 'storage.objects',
  })),
  {
    way: 'a move',
    table: 'storage.objects',
    refusal: FULL,
    async prepare(server, content) {
      expect((await upload(server.as('admin'), Bucket, SOURCE, content)).status).toBe(200);
      return async () => restOutcome(await server.as('admin').post(`${objectPath(Bucket, SOURCE)}/move`, { to: Key }));
    },
  },
  {
    way: 'the beginning of an upload over S3',
    table: 'storage.uploads',
    refusal: FULL_IN_S3,
    prepare: async (server) => () => outcomeOf(beginMultipart(server)),
  },
  {
    way: 'the beginning of an upload over S3',
    table: 'storage.s3_uploads',
    refusal: FULL_IN_S3,
    prepare: async (server) => () => outcomeOf(beginMultipart(server)),
  },
];

/** Takes what room there is in the pages that the table has already. */
const fillPages = (server: TestS3) =>
  server.sql(`
    do $$ begin
      for n in 1..10000 loop
        begin
          insert into storage.objects (bucket, key, size) values ('${Bucket}', 'o' || n, 0);
        exception when disk_full then exit;
        end;
      end loop;
    end $$`);

test.for(ROWS)(
  'without room in $table $way is refused with 507 and leaves nothing; with room again it succeeds',
  async ({ table, refusal, prepare }, { skip }) => {
    const started = await startWithTablespace();
    if (!started) return skip(NO_DISK);
    const { server, disk, move } = started;
    const write = await prepare(server, randomBytes(5 * MEGABYTE + 100 * KILOBYTE));
    await move(table);
    await disk.fill();
    if (table === 'storage.objects') await fillPages(server);
    const before = await snapshot(server);
    expect(await write()).toEqual(refusal);
    expect(await write()).toEqual(refusal);
    expect(await snapshot(server)).toEqual(before);
    await disk.free();
    expect(await write()).toMatchObject({ code: undefined });
  },
);
