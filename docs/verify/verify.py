#!/usr/bin/env python3
"""Checks exports and evidence packs of an audit log of Tenure. Shares no code with Tenure.

    python3 verify.py FOLDER --key 'NAME+NUMBER+KEY' [--since NOTE ...] [--json]
    python3 verify.py --proof 4711.tlog-proof --leaf 4711.json --key 'NAME+NUMBER+KEY'

Needs Python 3.9 and the package cryptography; for JSON Lines also rfc8785. The formats are public (RFC 6962, RFC 8785,
C2SP signed-note, tlog-checkpoint, tlog-tiles, tlog-proof); docs/audit.md has the rules of the tables in words.
Exit code: 0 sound, 1 something is not what it should be, 2 cannot tell.
"""

import argparse
import base64
import hashlib
import json
import os
import sys
from datetime import datetime, timedelta, timezone

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Fault(Exception):
    """Something is not what it should be."""


def need(holds, what):
    if not holds:
        raise Fault(what)


def unbase64(text):
    """Standard base64 in its one spelling."""
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, f"{text!r} is not base64")
    return data


# The tree: RFC 6962 section 2.1; proofs are checked as in RFC 9162 sections 2.1.3.2 and 2.1.4.2.

def leaf_hash(leaf):
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """Takes leaf hashes in their order; keeps the complete subtrees of the right edge."""

    def __init__(self):
        self.size, self.edge = 0, []

    def push(self, node, done=lambda level, index, node: None):
        level, index = 0, self.size
        done(level, index, node)
        while index & 1:
            node, level, index = node_hash(self.edge.pop(), node), level + 1, index >> 1
            done(level, index, node)
        self.edge.append(node)
        self.size += 1

    def root(self):
        if not self.edge:
            return hashlib.sha256(b"").digest()
        root = self.edge[-1]
        for left in reversed(self.edge[:-1]):
            root = node_hash(left, root)
        return root


def verify_inclusion(leaf, index, size, root, proof):
    if not 0 <= index < size:
        return False
    place, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(old, old_root, new, new_root, proof):
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    proof = list(proof)
    if old & (old - 1) == 0:
        proof.insert(0, old_root)
    if not proof:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    from_old = from_new = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            from_old, from_new = node_hash(sibling, from_old), node_hash(sibling, from_new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            from_new = node_hash(from_new, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and from_old == old_root and from_new == new_root


# Signed notes and checkpoints: C2SP signed-note and tlog-checkpoint.

class Key:
    def __init__(self, text):
        self.name, number, key = text.strip().split("+", 2)
        key = unbase64(key)
        need(len(key) == 33 and key[0] == 1, f"{text!r} is no Ed25519 verifier key")
        self.id = hashlib.sha256(self.name.encode() + b"\n" + key).digest()[:4]
        need(self.id.hex() == number, f"the verifier key of {self.name} was changed")
        self.public = Ed25519PublicKey.from_public_bytes(key[1:])
        self.raw = key

    def named(self, name):
        """The same key under another name."""
        number = hashlib.sha256(name.encode() + b"\n" + self.raw).digest()[:4].hex()
        return Key(f"{name}+{number}+{base64.b64encode(self.raw).decode()}")


class Checkpoint:
    def __init__(self, note, keys):
        """Opens a note: a signature by one of the keys has to be there and to hold."""
        need(all(c == "\n" or c >= " " for c in note), "the note has characters that cannot be seen")
        text, found, signatures = note.rpartition("\n\n")
        text += "\n"
        need(found and signatures.endswith("\n") and signatures != "\n", "the note has no signature")
        known = False
        for line in signatures[:-1].split("\n"):
            need(line.startswith("\u2014 ") and line.count(" ") == 2, "a signature has no name")
            _, name, signature = line.split(" ")
            need(name and "+" not in name, "a signature has no name")
            signature = unbase64(signature)
            need(len(signature) > 4, "a signature is too short")
            for key in keys:
                if (key.name, key.id) == (name, signature[:4]):
                    key.public.verify(signature[4:], text.encode())
                    known = True
        need(known, "the note was not signed by a key that is believed")
        lines = text[:-1].split("\n")
        need(len(lines) >= 3 and all(lines), "the note is no checkpoint")
        self.origin, size, root = lines[:3]
        need(size.isascii() and size.isdigit() and str(int(size)) == size, "the size is not a number")
        self.size, self.root = int(size), unbase64(root)
        need(len(self.root) == 32, "the root is not a hash")
        self.agrees = False
        self.continued = next((line[13:] for line in lines[3:] if line.startswith("continued as ")), None)


def opened(digest, salt, state):
    """Whether a digest in a leaf stands for this state."""
    salt = unbase64(salt)
    real = base64.b64encode(hashlib.sha256(salt + state).digest()).decode()
    return len(salt) == 16 and digest == {"alg": "sha256", "digest": real, "len": len(state)}


class Names:
    """The names that the log had, as its entries tell them, and what checkpoints in names before the present one say."""

    def __init__(self, checkpoints, believed):
        self.names, self.notes, self.place = [], sorted(checkpoints, key=lambda c: c.size), 0
        self.believed = believed

    def take(self, leaf, tree):
        if (leaf["seq"] == 1 and leaf["action"] == "audit.opened") or (leaf["action"] == "audit.origin_changed" and self.names):
            self.names.append((leaf["entityId"], leaf["seq"]))
        while self.place < len(self.notes) and self.notes[self.place].size <= leaf["seq"]:
            note = self.notes[self.place]
            note.agrees, self.place = note.size == tree.size and note.root == tree.root(), self.place + 1

    def renamed(self, note, tree):
        """The note that an entry has which gives the log another name: over the entries before it."""
        note.agrees = note.size == tree.size and note.root == tree.root()
        self.notes.insert(self.place, note)
        self.place += 1

    def check(self, own, figures, warnings):
        need(not self.names or self.names[-1][0] == own.origin, "the checkpoint is not in the last name that the entries tell")
        need(self.believed & {own.origin, *(name for name, _ in self.names)}, "the key is of a name that the log never had")
        for (before, _), (after, seq) in zip(self.names, self.names[1:]):
            need(any(c.origin == before and c.size < seq and c.agrees and c.continued == after for c in self.notes),
                 f"entry {seq} says that the log was put back and has another name, and no key of the log signed for that")
        behind = 0
        for note in self.notes:
            at = next((at for at, (name, _) in enumerate(self.names) if name == note.origin), None)
            need(at is not None, f"a checkpoint is of {note.origin}, a name that the log never had")
            if at + 1 < len(self.names) and note.size >= self.names[at + 1][1]:
                behind += 1
            else:
                need(note.agrees, f"the first {note.size} entries are not those that were signed for")
                figures["checkpoints"] += 1
        if behind:
            warnings.append(f"the log was put back from a backup; {behind} checkpoints are of entries that were left behind")


class Erasures:
    """What is missing, and what entries say was erased: an entry tells of it, or it is a fault."""

    def __init__(self):
        self.missed, self.told = [], {}

    def miss(self, leaf, name):
        need(name == "context" or not leaf["action"].startswith("audit."),
             f"{name} of entry {leaf['seq']} was erased, which that of an entry about the log never is")
        self.missed.append((leaf["seq"], name))

    def take(self, leaf, state):
        if leaf["action"] == "audit.erased":
            need(isinstance(state, dict), f"entry {leaf['seq']}, which tells of an erasure, is not opened")
            for name, ranges in state.get("erased", {}).items():
                self.told.setdefault(name, []).extend((first, last) for first, last in ranges)

    def check(self):
        for name in {name for _, name in self.missed}:
            told, reach, at = sorted(self.told.get(name, [])), 0, 0
            for seq in sorted(seq for seq, of in self.missed if of == name):
                while at < len(told) and told[at][0] <= seq:
                    reach, at = max(reach, told[at][1]), at + 1
                need(seq <= reach, f"{name} of entry {seq} was erased, and no entry says so")


# Folders.

class Folder:
    def __init__(self, path, keys, notes):
        self.path, self.warnings, self.figures = path, [], {}
        self.manifest = json.loads(self.read("manifest.json")) if self.has("manifest.json") else {}
        self.kind = self.manifest.get("kind", "tiles")
        for name, promised in self.manifest.get("files", {}).items():
            need(os.path.normpath(name) == name and not name.startswith(("/", "..")), f"{name} is not below the folder")
            need(self.has(name), f"{name} is missing")
            digest, size = hashlib.sha256(), 0
            with open(os.path.join(path, name), "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
                    size += len(block)
            need((size, digest.hexdigest()) == (promised["size"], promised["sha256"]), f"{name} is not what the manifest says")
        own = self.read("verifier.key").decode().split() if self.has("verifier.key") else self.manifest.get("verifierKeys")
        if own and not keys:
            keys = [Key(line) for line in own]
            self.warnings.append("the key came with the folder; compare it with what you were told on another way")
        self.keys, self.notes = keys, notes

    def has(self, name):
        return os.path.isfile(os.path.join(self.path, name))

    def read(self, name):
        need(self.has(name), f"{name} is missing")
        with open(os.path.join(self.path, name), "rb") as file:
            return file.read()

    def note(self, text):
        """A checkpoint; a key that is believed is believed under whichever name of the log."""
        return Checkpoint(text, self.keys + [key.named(text.split("\n")[0]) for key in self.keys])

    def lines(self, begin):
        for name in sorted(self.manifest["files"]):
            if name.startswith(begin) and name.endswith(".jsonl"):
                with open(os.path.join(self.path, name), encoding="utf-8", newline="\n") as file:
                    yield from (json.loads(line) for line in file)

    def checkpoints(self, note):
        """The checkpoint of the folder, and the root by size of every other one to compare with."""
        kept = [self.read(name).decode() for name in sorted(self.manifest.get("files", {})) if name.startswith("checkpoints/")]
        own = self.note(note)
        need(self.manifest.get("origin", own.origin) == own.origin, "the manifest names another log than the checkpoint")
        roots, foreign = {}, []
        for other in [own, *map(self.note, kept + self.notes)]:
            if other.origin != own.origin:
                foreign.append(other)
            else:
                need(roots.setdefault(other.size, other.root) == other.root, f"two checkpoints of size {other.size} contradict each other")
        need(max(roots) == own.size, f"a checkpoint was signed for {max(roots)} entries; here are {own.size}")
        self.figures["checkpoints"] = len(roots)
        self.names = Names(foreign, {key.name for key in self.keys})
        return own, roots

    # Tiles: C2SP tlog-tiles.

    def tile(self, level, index, width):
        path = f"{index % 1000:03}"
        rest = index // 1000
        while rest:
            path, rest = f"x{rest % 1000:03}/{path}", rest // 1000
        path = f"tile/{level}/{path}"
        part = path if width == 256 else f"{path}.p/{width}"
        return self.read(part if self.has(part) else path)

    def entries(self):
        """Every entry of the tiles: its number, its hash, its leaf. Ends with a fault where something is wrong."""
        own, roots = self.checkpoints(self.read("checkpoint").decode())
        tree, prev, above = Tree(), bytes(32), {}

        def done(level, index, node):
            if level % 8 == 0:
                above.setdefault(level // 8, []).append(node)
                if index % 256 == 255:
                    compare(level // 8, index // 256)

        def compare(level, index):
            hashes = above.pop(level)
            tile = self.tile(level, index, len(hashes))[: 32 * len(hashes)]
            need(tile == b"".join(hashes), f"tile {index} of level {level} does not hold the hashes of what is below it")

        while tree.size < own.size:
            width = min(256, own.size - tree.size)
            bundle = self.tile("entries", tree.size // 256, width)
            for _ in range(width):
                number, length = tree.size + 1, int.from_bytes(bundle[:2], "big")
                need(len(bundle) >= 2 + length, f"entry {number} is cut off")
                data, bundle = bundle[2:2 + length], bundle[2 + length:]
                leaf, node = json.loads(data), leaf_hash(data)
                need(leaf["seq"] == number, f"entry {number} is missing")
                need(leaf["prev"] == base64.b64encode(prev).decode(), f"entry {number} does not name the one before")
                prev = node
                tree.push(node, done)
                self.names.take(leaf, tree)
                if tree.size in roots:
                    need(tree.root() == roots[tree.size], f"the first {tree.size} entries are not those that were signed for")
                yield number, node, leaf
        for level in sorted(above):
            compare(level, (own.size >> (8 * level)) // 256)
        self.names.check(own, self.figures, self.warnings)
        self.own = own
        self.figures["entries"] = own.size


def check_lines(folder):
    """JSON Lines: each by itself; the whole tree where nothing was left out."""
    import rfc8785
    whole = not folder.manifest["filter"]
    own, roots = folder.checkpoints(folder.manifest["checkpoint"]) if folder.manifest["checkpoint"] else (None, {})
    tree, prev, last, count, erasures = Tree(), bytes(32), 0, 0, Erasures()
    for line in folder.lines("audit-"):
        leaf = line["leaf"]
        node = leaf_hash(rfc8785.dumps(leaf))
        need(unbase64(line["leafHash"]) == node, f"the hash of entry {line['seq']} is not that of its leaf")
        need(leaf["seq"] == line["seq"] > last and (not whole or line["seq"] == last + 1), f"entry {last + 1} is missing")
        need(not whole or leaf["prev"] == base64.b64encode(prev).decode(), f"entry {line['seq']} does not name the one before")
        for name in ("context", "prevState", "newState"):
            if leaf[name] is not None and name not in line["erased"]:
                salt = line["salts"].get(name, "")
                need(opened(leaf[name], salt, rfc8785.dumps(line[name])), f"{name} of entry {line['seq']} is not what was sealed")
            elif leaf[name] is not None:
                erasures.miss(leaf, name)
        if whole:
            erasures.take(leaf, line["newState"])
        prev, last, count = node, line["seq"], count + 1
        if whole and own and leaf["action"] == "audit.origin_changed":
            folder.names.renamed(folder.note(line["newState"]["note"]), tree)
        tree.push(node)
        if whole and own:
            folder.names.take(leaf, tree)
        if whole and tree.size in roots:
            need(tree.root() == roots[tree.size], f"the first {tree.size} entries are not those that were signed for")
    need(count == folder.manifest["entries"], "entries are missing at the end")
    if whole:
        erasures.check()
        if own:
            folder.names.check(own, folder.figures, folder.warnings)
    folder.figures["erased"] = len(erasures.missed)
    need(not whole or not own or own.size <= count, "the log is shorter than its checkpoint says")
    folder.figures["entries"] = count
    if not whole:
        folder.warnings.append("entries were selected; that none was left out can be seen from tiles only")


# Evidence packs.

def instant(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)


class Event:
    """An entry that tables can rest on; what was not opened is None, what was erased False."""

    def __init__(self, seq, node, leaf, parts):
        self.seq, self.node, self.leaf = seq, node, leaf
        self.at, self.action, self.id, self.actor = instant(leaf["ts"]), leaf["action"], leaf["entityId"], leaf["actor"]
        self.context = parts.get("context") if leaf["context"] else {}
        self.new = parts.get("new") if leaf["newState"] else {}

    def told(self, key):
        return self.new.get(key) if self.new else None

    def why(self, key):
        return self.context.get(key) if self.context else None

    def stands(self):
        return isinstance(self.told("state"), str)


class Pack:
    def __init__(self, folder):
        self.folder, self.about = folder, folder.manifest["pack"]
        self.begin, self.end = instant(self.about["from"]), instant(self.about["to"])
        self.late = timedelta(minutes=self.about["lateAfterMinutes"])
        self.events = {kind: {} for kind in ("assignment", "role", "document", "run", "approval")}
        self.numbers, self.grants = {}, []
        self.read()

    def read(self):
        """Reads the log with what opens its entries, both in order."""
        openings = self.folder.lines("openings-")
        opening, count, erased, erasures = next(openings, None), 0, 0, Erasures()
        for seq, node, leaf in self.folder.entries():
            parts = {}
            while opening and opening["seq"] == seq:
                digest = leaf[{"context": "context", "new": "newState"}[opening["part"]]]
                if opening.get("erased"):
                    parts[opening["part"]], erased = False, erased + 1
                    erasures.miss(leaf, {"context": "context", "new": "newState"}[opening["part"]])
                else:
                    state = opening["state"].encode()
                    need(digest and opened(digest, opening["salt"], state), f"what opens entry {seq} is not what was sealed")
                    parts[opening["part"]], count = json.loads(state), count + 1
                opening = next(openings, None)
                need(not opening or opening["seq"] >= seq, "openings are not in order")
            erasures.take(leaf, parts.get("new"))
            if leaf["entity"] in self.events:
                event = Event(seq, node, leaf, parts)
                self.numbers[seq] = event
                self.events[leaf["entity"]].setdefault(event.id, []).append(event)
                if (leaf["entity"], leaf["action"]) == ("assignment", "role.granted"):
                    self.grants.append(event)
        need(opening is None, "an entry is opened that is not in the log")
        erasures.check()
        self.folder.figures.update(opened=count, erased=erased)
        self.decided = [e for events in self.events["approval"].values() for e in events
                        if e.action in ("approval.decided", "approval.failed")]
        self.decided_in = {}
        for event in self.decided:
            self.decided_in.setdefault(event.told("run"), []).append(event)

    def ended(self, events):
        return next((e for e in events if e.action in ("role.expired", "role.revoked")), None)

    def in_scope(self, grant):
        """What was erased is not left out: nobody can say that it does not belong."""
        return all(not wanted or grant.told(key) in (None, *wanted)
                   for key, wanted in (("roleId", self.about["roleIds"]), ("personId", self.about["personIds"])))

    def check(self):
        rows = {}
        for table in ("population", "decisions", "exceptions"):
            for row in self.folder.lines(table + "-"):
                self.proved(row)
                rows.setdefault(row["assignmentId"], {}).setdefault(table, []).append(row)
        if self.about["openOthers"] or not (self.about["roleIds"] or self.about["personIds"]):
            need(all(e.new is not None for e in self.decided), "an outcome of an approval is not opened")
        closed = 0
        for grant in self.grants:
            events = self.events["assignment"][grant.id]
            need(events[0] is grant, f"{grant.id} is granted, and not for the first time")
            end = self.ended(events)
            if grant.at >= self.end or (end and end.at < self.begin):
                continue
            if grant.new is None and not self.about["openOthers"] and grant.id not in rows:
                closed += 1
                continue
            need(grant.new is not None, f"entry {grant.seq}, a grant in the period, is not opened")
            if self.in_scope(grant):
                need(grant.id in rows, f"{grant.id}, granted by entry {grant.seq}, belongs to the population and was left out")
                self.compare(events, rows.pop(grant.id))
        need(not rows, f"rows are about {list(rows)[:3]}, which do not belong to the population")
        need(closed == self.about["closed"], f"{closed} grants were left closed, not {self.about['closed']}")
        if closed:
            self.folder.warnings.append(f"{closed} grants in the period were left closed; nobody can tell whether they belong")

    def proved(self, row):
        event, proof, own = self.numbers.get(row["seq"]), row["proof"], self.folder.own
        path = [unbase64(node) for node in proof["path"]]
        need(event and proof["index"] == row["seq"] - 1 and proof["size"] == own.size
             and unbase64(proof["leafHash"]) == event.node
             and verify_inclusion(event.node, proof["index"], own.size, own.root, path),
             f"the proof of a row about entry {row['seq']} does not hold")

    def compare(self, events, tables):
        """The rows of one assignment against what follows from its entries."""
        named = [row for row in tables.get("decisions", []) if row["related"] or self.numbers[row["seq"]].new is False]
        grant = events[0]
        run = grant.told("runId")
        decisions = [(e, False) for e in (self.decided_in.get(run, []) if run else [])]
        decisions += [(self.numbers[row["seq"]], row["related"]) for row in named]
        decisions.sort(key=lambda d: d[0].seq)
        by_hand = [e for e in self.events["run"].get(run, []) if e.action in ("run.step_skipped", "run.variables_changed")]
        role = self.events["role"].get(grant.told("roleId"), [])
        documents = {d: self.events["document"].get(d, []) for d in grant.told("documents") or []}
        must = [*events, *(e for e, _ in decisions)]
        for event in [*must, *role, *(e for d in documents.values() for e in d)]:
            need(event.new is not None, f"entry {event.seq}, which the tables rest on, is not opened")
        for event in [*must, *by_hand]:
            need(event.context is not None, f"who and why of entry {event.seq}, which the tables rest on, is not opened")
        follow = {
            "population": [self.population(events)],
            "decisions": [self.decision(grant.id, e, related) for e, related in decisions],
            "exceptions": self.exceptions(events, decisions, by_hand, role, documents),
        }
        order = lambda row: json.dumps(row, sort_keys=True)
        for table, expected in follow.items():
            got = [{k: v for k, v in row.items() if k not in ("proof", "shown", "detail")} for row in tables.get(table, [])]
            for row in expected:
                need(row in got, f"a row of {table} that follows from entry {row['seq']} was left out or changed")
            need(sorted(got, key=order) == sorted(expected, key=order), f"rows of {table} about {grant.id} do not follow from the log")
            self.folder.figures["rows"] = self.folder.figures.get("rows", 0) + len(got)

    def stood(self, events):
        return next((e for e in reversed(events) if e.at < self.end and e.stands()), None)

    def population(self, events):
        grant, then, end = events[0], self.stood(events), self.ended(events)
        told = lambda event, key: event.told(key) if event else None
        return {
            "assignmentId": grant.id, "grantedAt": grant.leaf["ts"], "grantedBy": grant.actor,
            **{key: grant.told(key) for key in ("personId", "roleId", "roleName", "reason", "runId", "startsAt")},
            **{key: told(then, key) for key in ("state", "expiresAt", "endReason")},
            "endedAt": end.leaf["ts"] if end and end.at < self.end else None,
            "documents": grant.told("documents") or [], "erased": grant.new is False,
            "entries": [e.seq for e in events], "seq": grant.seq,
        }

    def decision(self, assignment, event, related):
        return {
            "assignmentId": assignment, "approvalId": event.id, "runId": event.told("run"), "action": event.action,
            "state": event.told("state"), "at": event.leaf["ts"], "by": event.actor, "reason": event.why("reason"),
            "onBehalfOf": event.told("onBehalfOf") or [], "votes": event.told("votes") or [],
            "byEscalation": event.told("byEscalation") is True, "exception": event.told("exception") is True,
            "related": related, "seq": event.seq,
        }

    def exceptions(self, events, decisions, by_hand, role, documents):
        grant, end, found = events[0], self.ended(events), []

        def add(kind, event, at=None, way=None, what=None):
            found.append({"assignmentId": grant.id, "kind": kind, "seq": event.seq, "way": way, "what": what,
                          "at": at or event.leaf["ts"]})

        def way(event):
            mark = event.why("exception") or {}
            kind = (mark.get("id") or "").partition("_")[0]
            other = "second_person" if mark.get("decidedBy") else "alone"
            return {"brk": "emergency", "imp": "import"}.get(kind, other)

        def late(due):
            limit = due + self.late
            return due < self.end and (end.at if end else self.end) > limit

        # Given around the rules.
        if grant.new is False:
            add("erased", grant)
        elif not grant.told("runId"):
            add("outside_a_run", grant, way=way(grant))
        elif not any(e.told("state") == "approved" for e, _ in decisions):
            add("no_decision", grant)
        for event, _ in decisions:
            if event.told("state") == "approved" and (event.told("byEscalation") or event.told("exception")):
                add("decided_by_nobody", event)
        for event in by_hand:
            add("step_passed_over" if event.action == "run.step_skipped" else "variables_changed", event, way=way(event))
        for event in events:
            if event.action == "role.extended":
                add("extended", event, way=way(event))

        # Documents: at the grant, and as long as there was access.
        wanted = lambda entries: next((e for e in reversed(entries) if isinstance(e.told("requiredDocumentTypes"), list)), None)
        newest = lambda entries: next((e for e in reversed(entries) if e.stands()), None)
        before = {d: newest([e for e in document if e.seq < grant.seq]) for d, document in documents.items()}
        if grant.new:
            approved = {e.told("type") for e in before.values() if e and e.told("state") == "approved"}
            at_grant = wanted([e for e in role if e.seq < grant.seq])
            for kind in set(at_grant.told("requiredDocumentTypes") if at_grant else []) - approved:
                add("document_missing", grant, what=kind)
        for name, document in documents.items():
            over = next((e for e in document if e.seq > grant.seq and e.action in ("document.expired", "document.withdrawn")), None)
            if over is None and newest(document) and newest(document).told("expiresAt"):
                # One that ran out while nobody noticed has no entry of its end.
                if late(instant(newest(document).told("expiresAt"))):
                    add("document_ended", newest(document), at=newest(document).told("expiresAt"), what=name)
            elif over and late(over.at):
                add("document_ended", over, what=name)
        until = min(end.at, self.end) if end else self.end
        later = wanted([e for e in role if e.at < until])
        if later and later.seq > grant.seq:
            held = {newest(document).told("type") for document in documents.values() if newest(document)}
            for kind in set(later.told("requiredDocumentTypes")) - held:
                add("document_required_since", later, what=kind)

        # Access that was there for too long.
        last = lambda action: next((e for e in reversed(events) if e.action == action), None)
        shown, due = last("role.revoking"), None
        if shown:
            due = shown.leaf["ts"]
        else:
            shown = last("role.expiring")
            due = (shown.told("expiresAt") or shown.leaf["ts"]) if shown else None
            if not shown and (shown := self.stood(events)):
                due = shown.told("expiresAt")
        if due and late(instant(due)):
            add("late_end", shown, at=due)
        return found


def check_folder(path, keys, notes):
    folder = Folder(path, keys, notes)
    if folder.kind == "jsonl":
        check_lines(folder)
    elif folder.kind == "pack":
        Pack(folder).check()
    elif folder.kind == "tiles":
        for _ in folder.entries():
            pass
    else:
        folder.figures["entries"] = folder.manifest["entries"]
        folder.warnings.append("a table was compared with its manifest only; export tiles or JSON Lines for evidence")
    return folder


def check_proof(text, leaf, keys):
    """The proof of one entry: C2SP tlog-proof."""
    head, _, note = text.partition("\n\n")
    first, index, *path = head.split("\n")
    need(first == "c2sp.org/tlog-proof@v1" and index.startswith("index "), "the file is no tlog-proof")
    own = Checkpoint(note, keys)
    need(verify_inclusion(leaf_hash(leaf), int(index[6:]), own.size, own.root, [unbase64(node) for node in path]),
         "the entry is not under the checkpoint at that place")
    return own


def main():
    parser = argparse.ArgumentParser(description="Checks exports and evidence packs of an audit log of Tenure.")
    parser.add_argument("folder", nargs="?", help="an unpacked export or evidence pack")
    parser.add_argument("--key", action="append", default=[], help="a verifier key that you were told on another way")
    parser.add_argument("--since", action="append", default=[], help="a checkpoint that you kept from earlier")
    parser.add_argument("--proof", help="a tlog-proof of one entry")
    parser.add_argument("--leaf", help="the bytes of that entry")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    result = {"fault": None, "warnings": []}
    try:
        keys = [Key(text) for text in args.key]
        if args.proof:
            with open(args.proof, encoding="utf-8", newline="") as proof, open(args.leaf, "rb") as leaf:
                result["entries"] = check_proof(proof.read(), leaf.read(), keys).size
        else:
            notes = []
            for name in args.since:
                with open(name, encoding="utf-8", newline="") as file:
                    notes.append(file.read())
            folder = check_folder(args.folder, keys, notes)
            result.update(folder.figures, kind=folder.kind, warnings=folder.warnings)
    except InvalidSignature:
        result["fault"] = "a signature does not hold"
    except Fault as fault:
        result["fault"] = str(fault)
    except (KeyError, TypeError, ValueError) as fault:
        result["fault"] = f"a file is not what it should be: {fault!r}"
    except OSError as fault:
        print(f"cannot tell: {fault}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(result))
    else:
        for warning in result["warnings"]:
            print(f"mind: {warning}")
        figures = ", ".join(f"{value} {name}" for name, value in result.items() if isinstance(value, int))
        print(f"tampered: {result['fault']}" if result["fault"] else f"sound: {figures}")
    return 1 if result["fault"] else 0


if __name__ == "__main__":
    sys.exit(main())
