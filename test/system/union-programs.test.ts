/** Whole programs at work on the union: packages, version control, a compiler, a database. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { requires } from '../requires.ts';
import { fuse, passes, UNION } from './union-script.ts';

/** `root union|kernel` mounts a root file system whose lower layer is the machine's; `inside` runs a command there; `away` unmounts. */
const ROOT = `
  root() {
    case $1 in
      union) ${UNION} m -o lowerdir=/,upperdir=u,workdir=w ;;
      kernel) mount -t overlay overlay m -o lowerdir=/,upperdir=u,workdir=w ;;
    esac
    mount -t proc proc m/proc
    mount --bind /dev m/dev
  }
  away() { umount m/dev m/proc m; }
  inside() { chroot m env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C "$@" < /dev/null; }
`;

/** A dozen packages in two versions each, in debs/: files, links of both kinds, a fifo, configuration; each needs the one before. */
const PACKAGES = `
  package() {
    name=tsbox-test-$1 root=build/tsbox-test-$1-$2
    mkdir -p $root/DEBIAN $root/etc/$name $root/usr/lib/$name/only$2 $root/usr/bin
    {
      echo "Package: $name"; echo "Version: $2"; echo "Architecture: all"
      echo "Maintainer: nobody <nobody@localhost>"; echo "Description: test"
      [ $1 = 1 ] || echo "Depends: tsbox-test-$(($1 - 1))"
    } > $root/DEBIAN/control
    echo "setting=$2" > $root/etc/$name/conf
    echo /etc/$name/conf > $root/DEBIAN/conffiles
    for file in $(seq 20); do head -c $((file * 500)) /dev/zero | tr '\\0' $2 > $root/usr/lib/$name/file$file; done
    ln $root/usr/lib/$name/file1 $root/usr/lib/$name/hard
    ln -s file2 $root/usr/lib/$name/soft
    mkfifo $root/usr/lib/$name/only$2/fifo
    printf '#!/bin/sh\\necho %s %s\\n' $name $2 > $root/usr/bin/$name
    chmod 4755 $root/usr/bin/$name
    dpkg-deb --root-owner-group -Znone --build $root debs > /dev/null
  }
  mkdir build debs
  for number in $(seq 12); do package $number 1; package $number 2; done
`;

/** Installs, changes a file of configuration, upgrades, removes some; shows what dpkg says of it. */
const LIFE = `
  cp -r debs m/debs
  inside sh -c 'dpkg -i /debs/*_1_all.deb' > log 2>&1 || { cat log; exit 9; }
  inside tsbox-test-12
  echo mine >> m/etc/tsbox-test-5/conf
  inside sh -c 'dpkg --force-confold -i /debs/*_2_all.deb' > log 2>&1 || { cat log; exit 9; }
  inside tsbox-test-12
  inside cat /etc/tsbox-test-5/conf /etc/tsbox-test-6/conf
  inside dpkg --remove tsbox-test-12 tsbox-test-11 > log
  inside dpkg --purge tsbox-test-10 tsbox-test-9 > log
  inside dpkg-query -W -f '\${Package} \${Version} \${Status}\\n' 'tsbox-test-*'
  inside dpkg --audit
  rm -r m/debs
`;

test('union: dpkg installs, upgrades and removes a dozen packages, with the same upper layer as on the kernel’s overlay', (t) => {
  if (!requires(t, ...fuse, 'command:dpkg-deb')) return;
  const out = passes(
    t,
    `${ROOT} ${PACKAGES}
    installed() {
      root $1; ${LIFE} away
      root kernel; inside tsbox-test-2; inside dpkg --verify tsbox-test-2; away
      (cd u; find usr/lib usr/bin etc var/lib/dpkg/info -name '*tsbox-test*' -printf '%p %y %m %U:%G %s\\n' | sort)
    }
    installed kernel > kernel
    rm -r u w; mkdir u w
    installed union > union
    diff kernel union
    cat union`,
  );
  assert.match(out, /^tsbox-test-12 1\ntsbox-test-12 2\nsetting=1\nmine\nsetting=2\n/);
  assert.match(out, /\ntsbox-test-2 2\n/);
});

const REPOSITORY = `
  export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
  git config --global user.email nobody@localhost
  git config --global user.name nobody
  git config --global init.defaultBranch main
  git init -q l2/work
  cd l2/work
  for d in $(seq 20); do mkdir $d; for f in $(seq 25); do echo "$d $f" > $d/$f; done; done
  git add -A; git commit -qm one
  git checkout -qb other
  for d in $(seq 10); do rm -r $d; echo new > $d; done # files where directories were
  git add -A; git commit -qm two
  git checkout -q main
  git mv 15 moved; git commit -qm three
  cd ../..
  git clone -q --bare --no-hardlinks l2/work l2/bare.git
`;

test('union: git switches, merges, packs, clones and checks a repository of a lower layer', (t) => {
  if (!requires(t, ...fuse, 'command:git')) return;
  passes(
    t,
    `${REPOSITORY} mount_union; cd m/work
    git checkout -q other; [ -f 5 ]
    git checkout -q main; [ -d 5 ]; [ -z "$(git status --porcelain)" ]
    git merge -q -m merged other
    git gc -q --prune=now; git fsck --full --strict; [ -z "$(git status --porcelain)" ]
    git push -q ../bare.git HEAD:refs/heads/merged
    cd ..; git clone -q bare.git copy; cd copy
    git checkout -q other; git checkout -q merged; git repack -adq; git fsck --full
    cd ..; diff -r --exclude=.git work copy
    rm -rf work copy; [ "$(ls)" = bare.git ]; cd ..; umount m
    mount_kernel; git -C m/bare.git fsck; [ "$(ls m)" = bare.git ]; umount m`,
  );
});

const SOURCES = `
  mkdir u/build
  for n in $(seq 12); do echo "int f$n(int x) { return x + $n; }" > u/build/f$n.c; done
  {
    echo '#include <stdio.h>'
    for n in $(seq 12); do echo "int f$n(int);"; done
    echo 'int main(void) { int x = 0;'
    for n in $(seq 12); do echo "x = f$n(x);"; done
    echo 'printf("%d\\n", x); return 0; }'
  } > u/build/main.c
  cat > u/build/Makefile <<'END'
objects := $(patsubst %,f%.o,$(shell seq 12))
program: main.c libf.so libf.a
	gcc -o $@ main.c -L. -Wl,-rpath,/build -lf
libf.so: $(objects)
	gcc -shared -o $@ $^
libf.a: $(objects)
	ar rcs $@ $^
%.o: %.c
	gcc -O1 -fPIC -c -o $@ $<
END
`;

test('union: a compiler builds libraries and a program, and builds anew what has changed', (t) => {
  if (!requires(t, ...fuse, 'command:gcc', 'command:make')) return;
  const out = passes(
    t,
    `${ROOT} ${SOURCES} root union
    inside make -C /build -j2 > log 2>&1 || { cat log; exit 9; }
    inside /build/program; inside make -s -q -C /build
    inside touch /build/f3.c; inside make -C /build > log; grep -c -- '-c -o' log
    inside strip /build/program; inside /build/program; away`,
  );
  assert.equal(out, '78\n1\n78\n');
});

/** Writes rows until it is killed, one a transaction, and says so after each. */
const WRITER = `
import { writeSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
const [, , file, name, count] = process.argv;
const database = new DatabaseSync(file);
database.exec('pragma busy_timeout=20000; pragma journal_mode=wal; pragma synchronous=full');
const insert = database.prepare('insert into rows values (?, ?, ?)');
for (let number = 0; number < Number(count); number++) {
  insert.run(name, number, 'x'.repeat(number * 37 % 4000));
  writeSync(1, number + '\\n');
}
`;
const READER = `
import { DatabaseSync } from 'node:sqlite';
const [, , file, make] = process.argv;
const database = new DatabaseSync(file);
if (make) database.exec('pragma journal_mode=wal; create table rows (writer, number, data, primary key (writer, number))');
const rows = database.prepare('select writer, count(*) n, max(number) m from rows group by writer order by writer').all();
console.log(database.prepare('pragma integrity_check').get().integrity_check, ...rows.map(({ writer, n, m }) => writer + ':' + n + ':' + m));
database.close();
`;

test('union: two write to sqlite with a log ahead (WAL), one is killed; nothing that was said to be written is lost', (t) => {
  if (!requires(t, ...fuse)) return;
  const out = passes(
    t,
    `node() { ${process.execPath} --no-warnings "$@"; }
    cat > writer.mjs <<'END'\n${WRITER}END
    cat > reader.mjs <<'END'\n${READER}END
    node reader.mjs l2/base make > log; mount_union
    node writer.mjs m/base one 150 > one & first=$!
    ${process.execPath} --no-warnings writer.mjs m/base two 100000 > two & second=$!
    until [ "$(wc -l < two)" -ge 60 ]; do kill -0 $second; sleep 0.05; done
    kill -9 $second; wait $second || true; wait $first
    node reader.mjs m/base; tail -n 1 two; umount m
    mount_kernel; node reader.mjs m/base; umount m`,
  );
  const [merged = '', said, again] = out.trim().split('\n');
  const [, count, last] = /^ok one:150:149 two:(\d+):(\d+)$/.exec(merged)!.map(Number);
  assert.equal(count, last! + 1);
  assert.ok(last! >= Number(said), out);
  assert.equal(again, merged);
});
