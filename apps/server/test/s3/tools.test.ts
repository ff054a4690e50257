import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { scratchFolder } from '../start/process.ts';
import { REGION, startS3 } from './start.ts';

const FILES = 1000;
const MIB = 200;
const MINUTES = 60_000;

/** What each tool does with a tree of files and one great file. `diff` and `cmp` fail the script where bytes differ. */
const TOOLS = {
  aws: {
    package: 'awscli',
    setUp: '',
    script: `
      s3() { aws --endpoint-url "$ENDPOINT" s3 "$@" --only-show-errors; }
      list() { aws --endpoint-url "$ENDPOINT" s3 ls --recursive "$1"; }
      aws --endpoint-url "$ENDPOINT" s3 mb s3://tools
      s3 cp --recursive tree s3://tools/tree
      aws --endpoint-url "$ENDPOINT" s3 sync tree s3://tools/tree | tee again; test ! -s again
      s3 sync s3://tools/tree back; diff -r tree back
      s3 cp big s3://tools/big; s3 cp s3://tools/big big-back; cmp big big-back
      s3 mv s3://tools/big s3://tools/moved; s3 mv --recursive s3://tools/tree/deep s3://tools/deeper
      curl -sSf "$(aws --endpoint-url "$ENDPOINT" s3 presign s3://tools/moved)" | cmp big -
      s3 rm s3://tools/moved; s3 rm --recursive s3://tools/tree
      list s3://tools | wc -l
      s3 rm --recursive s3://tools; aws --endpoint-url "$ENDPOINT" s3 rb s3://tools`,
  },
  rclone: {
    package: 'rclone',
    setUp: `
      printf '%s\\n' '[files]' 'type = s3' 'provider = Other' 'env_auth = true' "endpoint = $ENDPOINT" \\
        'force_path_style = true' "region = $AWS_DEFAULT_REGION" > rclone.conf`,
    script: `
      rc() { rclone --config rclone.conf --s3-upload-cutoff 8M --s3-chunk-size 5M "$@"; }
      rc mkdir files:tools
      rc copy tree files:tools/tree
      rc check --download tree files:tools/tree 2>/dev/null
      rc sync tree files:tools/tree -v 2> again; if grep -q Copied again; then exit 1; fi
      rc sync files:tools/tree back; diff -r tree back
      rc copyto big files:tools/big; rc copyto files:tools/big big-back; cmp big big-back
      rc moveto files:tools/big files:tools/moved; rc move files:tools/tree/deep files:tools/deeper
      curl -sSf "$(rc link --expire 1h files:tools/moved)" | cmp big -
      rc deletefile files:tools/moved; rc purge files:tools/tree
      rc lsf -R --files-only files:tools | wc -l
      rc purge files:tools`,
  },
  s3cmd: {
    package: 's3cmd',
    setUp: `
      printf '%s\\n' '[default]' "access_key = $AWS_ACCESS_KEY_ID" "secret_key = $AWS_SECRET_ACCESS_KEY" \\
        "host_base = \${ENDPOINT#http://}" "host_bucket = \${ENDPOINT#http://}" 'use_https = False' \\
        "bucket_location = $AWS_DEFAULT_REGION" > s3cfg`,
    // Its signurl knows signature version 2 only.
    script: `
      s3() { s3cmd -q -c s3cfg "$@"; }
      s3 mb s3://tools
      s3 sync tree/ s3://tools/tree/
      s3cmd -c s3cfg sync tree/ s3://tools/tree/ | tee again; test ! -s again
      mkdir back; s3 sync s3://tools/tree/ back/; diff -r tree back
      s3 put big s3://tools/big; s3 get s3://tools/big big-back; cmp big big-back
      s3 mv s3://tools/big s3://tools/moved; s3 mv --recursive s3://tools/tree/deep/ s3://tools/deeper/
      s3cmd -c s3cfg info s3://tools/moved > info; grep -q "$(md5sum < big | cut -c1-32)" info
      s3 rm s3://tools/moved; s3 rm --recursive s3://tools/tree
      s3cmd -c s3cfg ls -r s3://tools | wc -l
      s3 del --recursive --force s3://tools; s3 rb s3://tools`,
  },
} as const;

for (const [name, tool] of Object.entries(TOOLS)) {
  const isHere = spawnSync(name, ['--version']).status === 0;
  if (!isHere) console.warn(`${name} is not installed and was not tested: apt-get install ${tool.package}`);

  test.skipIf(!isHere)(
    `${name} copies, syncs, moves and removes files as it does with S3`,
    async () => {
      const s3 = await startS3();
      await s3.sql('update storage.config set max_file_size_mb = 200');
      const folder = await scratchFolder(0o755);
      const deep = join(folder, 'tree', 'deep', 'er');
      await mkdir(deep, { recursive: true });
      for (let number = 0; number < FILES; number++)
        await writeFile(join(folder, 'tree', `file ${number}.txt`), `text ${number}`);
      await writeFile(join(deep, "üñ+%&=(a)'!~@#$,;:[] 🦖.bin"), randomBytes(1000));
      await writeFile(join(folder, 'tree', 'empty'), '');
      await writeFile(join(folder, 'big'), randomBytes(MIB * 1024 * 1024));
      const environment = {
        PATH: process.env.PATH,
        HOME: folder,
        LC_ALL: 'C.UTF-8',
        ENDPOINT: s3.endpoint,
        AWS_ACCESS_KEY_ID: s3.key.accessKeyId,
        AWS_SECRET_ACCESS_KEY: s3.key.secretAccessKey,
        AWS_DEFAULT_REGION: REGION,
        AWS_EC2_METADATA_DISABLED: 'true',
      };
      const script = `${tool.setUp}\n${tool.script}`;
      const run = promisify(execFile)('bash', ['-euxo', 'pipefail', '-c', script], { cwd: folder, env: environment });
      const { stdout } = await run.catch(({ stdout, stderr }) => {
        throw new Error(`${name} failed:\n${stdout}\n${stderr}`.slice(-5000));
      });
      // What was left before the last line: the one file that was moved to another folder.
      expect(stdout).toMatch(/^\s*1$/m);
      expect(await s3.stored()).toMatchObject({ objects: [], uploads: 0, parts: 0 });
      expect(await s3.sql('select * from storage.buckets')).toEqual([]);
    },
    5 * MINUTES,
  );
}
