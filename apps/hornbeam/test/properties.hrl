%% SPDX-License-Identifier: Apache-2.0
%% The words in which property tests are written. Debian's PropEr comes without its header, so the
%% few macros used here are defined on the functions PropEr exports; the registry's PropEr has the
%% same ones. A property is run from EUnit: prop_round_trip_test_() -> ?PROPERTY(prop_round_trip()).

-define(FORALL(Variable, Type, Property), proper:forall(Type, fun(Variable) -> Property end)).
-define(IMPLIES(Condition, Property), proper:implies(Condition, fun() -> Property end)).
-define(WHENFAIL(Action, Property), proper:whenfail(fun() -> Action end, fun() -> Property end)).
-undef(LET). %% EUnit has one of its own
-define(LET(Variable, Type, Generator),
    proper_types:bind(Type, fun(Variable) -> Generator end, false)
).
-define(SUCHTHAT(Variable, Type, Condition),
    proper_types:add_constraint(Type, fun(Variable) -> Condition end, true)
).
-define(SIZED(Size, Generator), proper_types:sized(fun(Size) -> Generator end)).
-define(LAZY(Generator), proper_types:lazy(fun() -> Generator end)).

%% An EUnit test of a property: Runs cases (default 200), a minute at most, counterexample printed.
-define(PROPERTY(Property), ?PROPERTY(Property, 200)).
-define(PROPERTY(Property, Runs),
    {timeout, 60, ?_assert(proper:quickcheck(Property, [{numtests, Runs}, {to_file, user}]))}
).

-import(proper_types, [
    any/0,
    binary/0,
    binary/1,
    bitstring/0,
    boolean/0,
    byte/0,
    char/0,
    elements/1,
    exactly/1,
    fixed_list/1,
    float/0,
    frequency/1,
    integer/0,
    integer/2,
    list/1,
    non_empty/1,
    non_neg_integer/0,
    oneof/1,
    pos_integer/0,
    range/2,
    resize/2,
    vector/2
]).
