"""Users, log-ins, second factors, tokens and machine clients of one institution, on both databases."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from accounts_world import CHEAP, NOW_MS, PASSWORD
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.crypto.keyfile import PassphraseCost
from shuiqiao.node.accounts.lock_out import FADE_MS
from shuiqiao.node.accounts.model import OWNER, Permission, PrincipalKind
from shuiqiao.node.accounts.store import UNKNOWN_NAMES

CHECKER = "credit_supervisor"
MINUTE_MS = 60_000


def test_the_first_user_is_added_once_and_has_to_change_the_password(world):
    first = world.service.add_first_user("admin")
    principal = world.log_in("admin", password=first)
    assert principal.permissions == frozenset()
    with pytest.raises(Denied, match=r"^node\.users_exist"):
        world.service.add_first_user("other")
    with pytest.raises(Denied, match=r"^node\.password_first"):
        world.service.add_user(principal, "other", roles=["operator"])
    principal = world.with_password("admin", first)
    assert Permission.USERS_MANAGE in principal.permissions
    assert [user["user"] for user in world.service.users(principal)] == ["admin"]


def test_the_first_user_manages_users(bank):
    with pytest.raises(InvalidInput, match=r"^node\.role_unknown"):
        bank.service.add_first_user("chen", roles=["operator"])


def test_of_two_first_users_at_once_one_is_added(world):
    codes = []

    def add(name):
        try:
            codes.append(world.service.add_first_user(name) and "added")
        except ShuiqiaoError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=add, args=(f"admin{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == ["added", "node.users_exist", "node.users_exist", "node.users_exist"]


@pytest.mark.parametrize("name", ["", "a", "A.b", "1chen", "chen wei", "c" * 33, "陈伟", "chen\n", "x/../y"])
def test_a_name_has_a_form(bank, name):
    admin = bank.administrator()
    with pytest.raises(InvalidInput, match=r"^node\.user_name_invalid"):
        bank.service.add_user(admin, name, roles=["operator"])


def test_a_name_is_one_users_alone_also_after_a_rename(world):
    admin = world.administrator()
    chen = world.user(admin, "chen", "credit_officer")
    with pytest.raises(Conflict, match=r"^node\.user_exists"):
        world.service.add_user(admin, "chen", roles=["operator"])
    world.service.rename(admin, "chen", to="wang")
    assert world.log_in("wang").id == chen.id
    with pytest.raises(Conflict, match=r"^node\.user_exists"):
        world.service.rename(admin, "wang", to="admin")
    with pytest.raises(Denied, match=r"^node\.login_refused"):
        world.log_in("chen")


def test_roles_count_from_the_next_call_on(world):
    admin = world.administrator()
    world.user(admin, "chen", "credit_officer")
    token = world.service.log_in("chen", password=PASSWORD).token
    assert world.service.authenticate(token).may(Permission.DECISIONS_MAKE)
    world.service.give_roles(admin, "chen", roles=["internal_auditor"])
    assert not world.service.authenticate(token).may(Permission.DECISIONS_MAKE)
    assert world.service.authenticate(token).may(Permission.JOURNAL_READ)


def test_nobody_changes_their_own_account_as_who_manages_users(bank):
    admin = bank.administrator()
    for act in (
        lambda: bank.service.disable(admin, "admin"),
        lambda: bank.service.reset(admin, "admin"),
        lambda: bank.service.give_roles(admin, "admin", roles=["operator"]),
        lambda: bank.service.rename(admin, "admin", to="root"),
    ):
        with pytest.raises(Denied, match=r"^node\.own_account"):
            act()


def test_a_user_without_the_permission_manages_nobody(bank):
    admin = bank.administrator()
    chen = bank.user(admin, "chen", "credit_officer", "internal_auditor")
    assert len(bank.service.users(chen)) == 2
    for act in (
        lambda: bank.service.add_user(chen, "li", roles=["operator"]),
        lambda: bank.service.disable(chen, "admin"),
        lambda: bank.service.enable(chen, "admin"),
        lambda: bank.service.reset(chen, "admin"),
        lambda: bank.service.give_roles(chen, "admin", roles=["operator"]),
        lambda: bank.service.rename(chen, "admin", to="li"),
        lambda: bank.service.add_client(chen, "core", owner="chen", roles=["credit_officer"]),
        lambda: bank.service.disable_client(chen, "core"),
    ):
        with pytest.raises(Denied, match=r"^node\.permission_missing"):
            act()


class Meanwhile:
    """Lets somebody else act once in the midst of an act: when a new hash is made for it."""

    def __init__(self, world):
        self.act = None
        self.service = world.accounts(CHEAP, when_hashed=self)

    def __call__(self):
        act, self.act = self.act, None
        if act is not None:
            act()


def test_roles_that_are_taken_while_a_password_is_changed_stay_taken(world):
    admin, meanwhile = world.administrator(), Meanwhile(world)
    chen = world.user(admin, "chen", "operator")
    meanwhile.act = lambda: world.service.give_roles(admin, "chen", roles=["internal_auditor"])
    meanwhile.service.change_password(chen, old=PASSWORD, new="another word of mine")
    assert Permission.KEYS_ROTATE not in world.log_in("chen", password="another word of mine").permissions


def test_who_is_disabled_or_reset_while_changing_a_password_stays_so(world):
    admin, meanwhile = world.administrator(), Meanwhile(world)
    chen, wang = (world.user(admin, name, "operator") for name in ("chen", "wang"))
    meanwhile.act = lambda: world.service.disable(admin, "chen")
    with pytest.raises(Denied, match=r"^node\.login_refused"):
        meanwhile.service.change_password(chen, old=PASSWORD, new="another word of mine")
    first = []
    meanwhile.act = lambda: first.append(world.service.reset(admin, "wang"))
    with pytest.raises(Denied, match=r"^node\.login_refused"):
        meanwhile.service.change_password(wang, old=PASSWORD, new="another word of mine")
    rows = {row["user"]: row for row in world.service.users(admin)}
    assert rows["chen"]["is_disabled"]
    assert rows["wang"]["must_change_password"]
    assert world.log_in("wang", password=first[0])


def test_a_hash_that_is_renewed_undoes_no_reset(bank):
    admin, meanwhile = bank.administrator(), Meanwhile(bank)
    bank.user(admin, "chen", "operator")
    old = bank.accounts(PassphraseCost(memory_kib=128, passes=1, lanes=1), when_hashed=meanwhile)
    first = []
    meanwhile.act = lambda: first.append(bank.service.reset(admin, "chen"))
    old.log_in("chen", password=PASSWORD)
    assert bank.log_in("chen", password=first[0]).permissions == frozenset()


def test_tokens_of_the_programs_of_a_disabled_user_end_for_good(bank):
    admin = bank.administrator()
    bank.user(admin, "chen", "operator")
    client, secret = bank.service.add_client(admin, "core", owner="chen", roles=["operator"])
    token = bank.service.log_in_client(client, secret=secret).token
    bank.service.disable(admin, "chen")
    bank.service.enable(admin, "chen")
    with pytest.raises(Denied, match=r"^node\.token_invalid"):
        bank.service.authenticate(token)


def test_a_disabled_user_is_out_at_once_until_enabled(world):
    admin = world.administrator()
    world.user(admin, "chen", "credit_officer")
    token = world.service.log_in("chen", password=PASSWORD).token
    assert world.service.disable(admin, "chen")["is_disabled"]
    with pytest.raises(Denied, match=r"^node\.token_invalid"):
        world.service.authenticate(token)
    with pytest.raises(Denied, match=r"^node\.login_refused"):
        world.log_in("chen")
    world.service.enable(admin, "chen")
    assert world.log_in("chen").name == "chen"
    with pytest.raises(Denied, match=r"^node\.token_invalid"):
        world.service.authenticate(token)


# Passwords


def test_a_changed_password_ends_every_token(world):
    admin = world.administrator()
    chen = world.user(admin, "chen", "credit_officer")
    tokens = [world.service.log_in("chen", password=PASSWORD).token for _ in range(3)]
    world.service.change_password(chen, old=PASSWORD, new="another password")
    for token in tokens:
        with pytest.raises(Denied, match=r"^node\.token_invalid"):
            world.service.authenticate(token)
    with pytest.raises(Denied, match=r"^node\.login_refused"):
        world.log_in("chen")
    assert world.log_in("chen", password="another password").id == chen.id


@pytest.mark.parametrize("new", [PASSWORD, "chen.wei.long", "CHEN.WEI.LONG"])
def test_a_new_password_is_a_new_one(bank, new):
    chen = bank.user(bank.administrator(), "chen.wei.long", "credit_officer")
    with pytest.raises(InvalidInput, match=r"^node\.password_same"):
        bank.service.change_password(chen, old=PASSWORD, new=new)


def test_a_reset_password_allows_nothing_until_it_is_changed(world):
    admin = world.administrator()
    world.checker(admin, "li", CHECKER)
    first = world.service.reset(admin, "li")
    principal = world.log_in("li", password=first)
    assert principal.permissions == frozenset()
    again = world.with_password("li", first)
    assert again.may(Permission.APPLICATIONS_READ)
    assert not again.may(Permission.DECISIONS_CHECK)


def test_the_owner_of_the_home_resets_who_manages_users_and_nobody_else(bank):
    admin = bank.administrator()
    bank.user(admin, "chen", "credit_officer")
    with pytest.raises(Denied, match=r"^node\.permission_missing"):
        bank.service.reset(OWNER, "chen")
    first = bank.service.reset(OWNER, "admin")
    assert bank.with_password("admin", first).id == admin.id


def test_a_hash_of_weaker_parameters_is_made_anew_at_the_next_log_in(world):
    world.administrator()
    stronger = world.accounts(PassphraseCost(memory_kib=128, passes=1, lanes=1))
    token = world.service.log_in("admin", password=PASSWORD).token
    before = world.store.user_named("admin").password
    stronger.log_in("admin", password=PASSWORD)
    after = world.store.user_named("admin").password
    assert f"m={CHEAP.memory_kib}," in before
    assert "m=128," in after
    assert world.service.authenticate(token).name == "admin"
    assert stronger.log_in("admin", password=PASSWORD)


# Lock-out


def test_the_fifth_failure_locks_and_each_further_one_doubles_the_time(world):
    world.administrator()
    for _ in range(5):
        with pytest.raises(Denied, match=r"^node\.login_refused"):
            world.log_in("admin", password="wrong password")
    with pytest.raises(Unavailable, match=r"^node\.login_locked") as caught:
        world.log_in("admin")
    assert caught.value.retry_after_s == 30
    world.clock.advance(30_000)
    with pytest.raises(Denied, match=r"^node\.login_refused"):
        world.log_in("admin", password="wrong password")
    world.clock.advance(59_999)
    with pytest.raises(Unavailable, match=r"^node\.login_locked"):
        world.log_in("admin")
    world.clock.advance(1)
    world.log_in("admin")
    world.clock.advance(6 * FADE_MS)
    for _ in range(4):
        with pytest.raises(Denied, match=r"^node\.login_refused"):
            world.log_in("admin", password="wrong password")
    world.log_in("admin")


def test_a_success_takes_back_its_own_attempt_alone_so_that_no_name_is_told_from_another(bank):
    bank.administrator()

    def told(name):
        with pytest.raises(ShuiqiaoError) as caught:
            bank.service.log_in(name, password="wrong password", address="192.0.2.1")
        return caught.value.code

    seen = {name: [told(name) for _ in range(4)] for name in ("admin", "nobody")}
    bank.service.log_in("admin", password=PASSWORD, address="198.51.100.9")
    for wait_ms, times in ((0, 2), (30_000 + 2 * FADE_MS, 3)):
        bank.clock.advance(wait_ms)
        for name, codes in seen.items():
            codes += [told(name) for _ in range(times)]
    assert seen["admin"] == seen["nobody"]
    assert seen["admin"][4:6] == ["node.login_refused", "node.login_locked"]


def test_strangers_lock_nobody_out_of_the_address_that_they_logged_in_from(bank):
    bank.administrator()
    bank.service.log_in("admin", password=PASSWORD, address="198.51.100.9")
    for _ in range(5):
        with pytest.raises(Denied):
            bank.service.log_in("admin", password="wrong password", address="192.0.2.1")
    with pytest.raises(Unavailable, match=r"^node\.login_locked"):
        bank.service.log_in("admin", password=PASSWORD, address="192.0.2.1")
    bank.service.log_in("admin", password=PASSWORD, address="198.51.100.9")
    for _ in range(5):
        with pytest.raises(Denied):
            bank.service.log_in("admin", password="wrong password", address="198.51.100.9")
    with pytest.raises(Unavailable, match=r"^node\.login_locked"):
        bank.service.log_in("admin", password=PASSWORD, address="198.51.100.9")


@pytest.mark.parametrize("name", ["nobody", "no such\nname", "x" * 5000, ""])
def test_an_unknown_name_is_refused_and_locked_as_a_known_one_is(world, name):
    told = []
    for _ in range(6):
        with pytest.raises(ShuiqiaoError) as caught:
            world.service.log_in(name, password=PASSWORD)
        told.append(str(caught.value))
    assert told[0].startswith("node.login_refused")
    assert told[:5] == [told[0]] * 5
    assert told[5].startswith("node.login_locked")


def test_strangers_fill_no_table(bank):
    names = {bank.store.row_of_unknown(f"name{number}") for number in range(20_000)}
    assert 3900 < len(names) <= UNKNOWN_NAMES


def test_many_attempts_at_once_are_no_more_than_many_one_after_another(world):
    world.administrator()
    told = []

    def attempt():
        try:
            world.service.log_in("admin", password="wrong password")
        except ShuiqiaoError as error:
            told.append(error.code)

    threads = [threading.Thread(target=attempt) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.count("node.login_refused") <= 5
    assert set(told) <= {"node.login_refused", "node.login_locked", "node.login_busy"}


def test_a_change_of_password_is_guessed_no_more_often(bank):
    chen = bank.user(bank.administrator(), "chen", "credit_officer")
    for _ in range(5):
        with pytest.raises(Denied, match=r"^node\.login_refused"):
            bank.service.change_password(chen, old="wrong password", new="another password")
    with pytest.raises(Unavailable, match=r"^node\.login_locked"):
        bank.service.change_password(chen, old=PASSWORD, new="another password")


# Second factor


def test_what_a_checker_may_check_counts_with_a_confirmed_second_factor(world):
    admin = world.administrator()
    li = world.user(admin, "li", CHECKER)
    assert li.may(Permission.APPLICATIONS_READ)
    assert not li.may(Permission.DECISIONS_CHECK)
    factor = world.service.make_second_factor(li, password=PASSWORD)
    assert factor.secret not in repr(factor)
    assert not world.log_in("li").may(Permission.DECISIONS_CHECK)
    world.service.confirm_second_factor(li, code=world.code(factor.secret))
    with pytest.raises(Denied, match=r"^node\.login_refused"):
        world.log_in("li")
    world.clock.advance(30_000)
    assert world.log_in("li", code=world.code(factor.secret)).may(Permission.DECISIONS_CHECK)
    with pytest.raises(Conflict, match=r"^node\.second_factor_exists"):
        world.service.make_second_factor(li, password=PASSWORD)


def test_a_code_counts_once_and_not_after_a_later_one(world):
    admin = world.administrator()
    world.checker(admin, "li", CHECKER)
    secret = world.store.user_named("li").secret
    world.clock.advance(60_000)
    code, earlier = world.code(secret), world.code(secret, drift=-1)
    world.log_in("li", code=code)
    for used in (code, earlier):
        with pytest.raises(Denied, match=r"^node\.login_refused"):
            world.log_in("li", code=used)
    assert world.log_in("li", code=world.code(secret, drift=1))


def test_of_two_log_ins_with_one_code_at_once_one_is_let_in(world):
    admin = world.administrator()
    world.checker(admin, "li", CHECKER)
    secret = world.store.user_named("li").secret
    world.clock.advance(60_000)
    code, told = world.code(secret), []

    def attempt():
        try:
            world.service.log_in("li", password=PASSWORD, code=code)
            told.append("in")
        except ShuiqiaoError as error:
            told.append(error.code)

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.count("in") == 1


def test_the_secret_of_a_second_factor_does_not_stand_in_the_database(world):
    admin = world.administrator()
    world.checker(admin, "li", CHECKER)
    secret = world.store.user_named("li").secret
    with world.database.connect() as connection:
        (stored,) = connection.execute(text("SELECT secret FROM accounts_user WHERE name = 'li'")).one()
    assert secret.encode() not in bytes(stored)


# Tokens


def test_a_token_ends_when_it_was_not_used_for_a_quarter_of_an_hour(world):
    world.administrator()
    token = world.service.log_in("admin", password=PASSWORD).token
    for _ in range(4):
        world.clock.advance(15 * MINUTE_MS - 1)
        assert world.service.authenticate(token).name == "admin"
    world.clock.advance(15 * MINUTE_MS)
    with pytest.raises(Denied, match=r"^node\.token_invalid"):
        world.service.authenticate(token)


def test_a_token_ends_after_eight_hours_however_it_is_used(world):
    world.administrator()
    issued = world.service.log_in("admin", password=PASSWORD)
    assert issued.ends_ms == NOW_MS + 8 * 60 * MINUTE_MS
    for _ in range(8 * 6 - 1):
        world.clock.advance(10 * MINUTE_MS)
        world.service.authenticate(issued.token)
    world.clock.advance(10 * MINUTE_MS)
    with pytest.raises(Denied, match=r"^node\.token_invalid"):
        world.service.authenticate(issued.token)


def test_a_token_from_the_future_has_ended(bank):
    bank.administrator()
    token = bank.service.log_in("admin", password=PASSWORD).token
    for back_ms, counts in ((120_000, True), (120_001, False)):
        bank.clock._now_ms = NOW_MS - back_ms
        if counts:
            assert bank.service.authenticate(token)
        else:
            with pytest.raises(Denied, match=r"^node\.token_invalid"):
                bank.service.authenticate(token)


def test_only_the_hash_of_a_token_is_kept(world):
    world.administrator()
    issued = world.service.log_in("admin", password=PASSWORD)
    assert issued.token not in repr(issued)
    with world.database.connect() as connection:
        rows = connection.execute(text("SELECT * FROM accounts_token")).all()
    admin = world.store.user_named("admin").id.encode()
    for row in rows:
        for value in row:
            kept = value if isinstance(value, bytes) else bytes(value) if isinstance(value, memoryview) else b""
            assert admin not in kept
            assert issued.token[:20].encode() not in kept


@pytest.mark.parametrize("token", ["", "x", "a" * 43, "=" * 43, "a" * 42 + "\n", "é" * 43, "a" * 100_000])
def test_what_is_no_token_is_refused_in_the_same_words(bank, token):
    with pytest.raises(Denied, match=r"^node\.token_invalid: the token is not known here or has ended$"):
        bank.service.authenticate(token)


def test_a_token_is_ended_by_logging_out(world):
    world.administrator()
    first, second = (world.service.log_in("admin", password=PASSWORD).token for _ in range(2))
    world.service.log_out(first)
    world.service.log_out("nonsense")
    with pytest.raises(Denied, match=r"^node\.token_invalid"):
        world.service.authenticate(first)
    assert world.service.authenticate(second)


def test_a_seventeenth_token_ends_the_oldest(world):
    world.administrator()
    tokens = []
    for _ in range(17):
        world.clock.advance(1000)
        tokens.append(world.service.log_in("admin", password=PASSWORD).token)
    with pytest.raises(Denied, match=r"^node\.token_invalid"):
        world.service.authenticate(tokens[0])
    assert all(world.service.authenticate(token) for token in tokens[1:])


# Machine clients


def test_a_program_logs_in_by_its_secret_and_a_person_answers_for_it(world):
    admin = world.administrator()
    chen = world.user(admin, "chen", "credit_officer")
    client, secret = world.service.add_client(admin, "core", owner="chen", roles=["relationship_manager"])
    principal = world.service.authenticate(world.service.log_in_client(client, secret=secret).token)
    assert (principal.kind, principal.id, principal.person) == (PrincipalKind.MACHINE, client, chen.id)
    assert principal.may(Permission.REQUESTS_WRITE)
    assert [row["owner"] for row in world.service.clients(admin)] == ["chen"]
    for wrong in ("", "nonsense", secret[:-4] + "AAA=", "a" * 10_000):
        with pytest.raises(Denied, match=r"^node\.login_refused"):
            world.service.log_in_client(client, secret=wrong)
    with pytest.raises(Denied, match=r"^node\.login_refused"):
        world.service.log_in_client("0" * 32, secret=secret)


@pytest.mark.parametrize("end", ["client", "owner"])
def test_a_program_is_out_with_its_account_or_its_owner(world, end):
    admin = world.administrator()
    world.user(admin, "chen", "credit_officer")
    client, secret = world.service.add_client(admin, "core", owner="chen", roles=["relationship_manager"])
    token = world.service.log_in_client(client, secret=secret).token
    if end == "client":
        world.service.disable_client(admin, "core")
    else:
        world.service.disable(admin, "chen")
    with pytest.raises(Denied, match=r"^node\.token_invalid"):
        world.service.authenticate(token)
    with pytest.raises(Denied, match=r"^node\.login_refused"):
        world.service.log_in_client(client, secret=secret)


def test_a_program_checks_nothing_and_has_no_password(bank):
    admin = bank.administrator()
    with pytest.raises(Denied, match=r"^node\.roles_conflict"):
        bank.service.add_client(admin, "core", owner="admin", roles=[CHECKER])
    with pytest.raises(InvalidInput, match=r"^node\.user_unknown"):
        bank.service.add_client(admin, "core", owner="nobody", roles=["credit_officer"])
    client, secret = bank.service.add_client(admin, "core", owner="admin", roles=["credit_officer"])
    principal = bank.service.authenticate(bank.service.log_in_client(client, secret=secret).token)
    with pytest.raises(Denied, match=r"^node\.permission_missing"):
        bank.service.change_password(principal, old=PASSWORD, new="another password")


# The journal of it


def test_every_act_on_accounts_is_an_entry_and_none_holds_a_name_or_a_password(world):
    admin = world.administrator()
    chen = world.user(admin, "chen", "credit_officer")
    world.service.give_roles(admin, "chen", roles=["operator"])
    world.service.rename(admin, "chen", to="wang")
    world.service.disable(admin, "wang")
    rows = world.journal.rows()[::-1]
    acts = [row["act"] for row in rows if row["act"] != "own.log_in"]
    assert acts == [
        "users.add_first",
        "own.password",
        "users.add",
        "own.password",
        "users.roles",
        "users.rename",
        "users.disable",
    ]
    assert rows[-1]["object"] == f"user/{chen.id}"
    assert rows[-1]["who"] == admin.id
    assert PASSWORD not in str(rows)
    assert "chen" not in str(rows)


def test_a_refused_act_changes_nothing_and_leaves_no_entry(world):
    admin = world.administrator()
    before = world.journal.rows()
    with pytest.raises(Conflict, match=r"^node\.user_exists"):
        world.service.add_user(admin, "admin", roles=["operator"])
    assert world.journal.rows() == before


# Enterprises


@pytest.mark.parametrize(
    ("claim", "taxpayer", "consent"),
    [
        ("taxpayer:91440300MA5LEAKME7", "91440300MA5LEAKME7", None),
        (f"consent:bureau/{'0f' * 16}", "", f"bureau/{'0f' * 16}"),
    ],
)
def test_an_enterprise_has_what_is_its_own_for_an_hour(world, claim, taxpayer, consent):
    issued = world.service.admit_enterprise(claim)
    assert issued.ends_ms == NOW_MS + 60 * MINUTE_MS
    principal = world.service.authenticate(issued.token)
    assert (principal.kind, principal.taxpayer, principal.consent) == (PrincipalKind.ENTERPRISE, taxpayer, consent)
    assert principal.permissions == {Permission.OWN_READ, Permission.OWN_WRITE}
    with world.database.connect() as connection:
        stored = str(connection.execute(text("SELECT * FROM accounts_token")).all())
    assert "91440300MA5LEAKME7" not in stored
