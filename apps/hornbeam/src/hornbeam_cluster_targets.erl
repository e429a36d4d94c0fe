%% SPDX-License-Identifier: Apache-2.0
%% @doc Which nodes are to be connected to, and when each is tried next. Pure: times are
%% milliseconds of whatever clock, chance comes from outside as a number from 0 to 1.
%%
%% A node that cannot be reached is tried for ever, after half a second to a second first, then
%% after twice as long each time, up to half a minute; by chance, not all nodes at the same time.
-module(hornbeam_cluster_targets).

-export([new/0, set/3, due/2, connected/2, failed/4, lost/4, next/1]).
-export_type([targets/0]).

-define(FIRST, 1000).
-define(LONGEST, 30000).

-record(target, {
    %% never while it is connected or being tried
    due :: integer() | never,
    failures = 0 :: non_neg_integer()
}).

-type name() :: binary().
-type targets() :: #{name() => #target{}}.

-spec new() -> #{}.
new() ->
    #{}.

%% @doc These are the nodes from now on; new ones are due at once.
-spec set([name()], Now :: integer(), targets()) -> targets().
set(Names, Now, Targets) ->
    New = maps:from_list([{Name, #target{due = Now}} || Name <- Names]),
    maps:merge(New, maps:with(Names, Targets)).

%% @doc Those to be tried now; they are not due again until it is told what became of it.
-spec due(Now :: integer(), targets()) -> {[name()], targets()}.
due(Now, Targets) ->
    Due = [Name || {Name, #target{due = At}} <- maps:to_list(Targets), At =/= never, At =< Now],
    Trying = fun(Name, Before) -> update(Name, fun(T) -> T#target{due = never} end, Before) end,
    {Due, lists:foldl(Trying, Targets, Due)}.

-spec connected(name(), targets()) -> targets().
connected(Name, Targets) ->
    update(Name, fun(_) -> #target{due = never} end, Targets).

%% @doc It could not be reached; how often in succession.
-spec failed(name(), Now :: integer(), Chance :: float(), targets()) ->
    {Failures :: non_neg_integer(), targets()}.
failed(Name, Now, Chance, Targets) ->
    case Targets of
        #{Name := #target{failures = Before}} ->
            Failures = Before + 1,
            After = round(longest(Failures) * (1 + Chance) / 2),
            {Failures, Targets#{Name := #target{due = Now + After, failures = Failures}}};
        #{} ->
            {0, Targets}
    end.

%% No shift by thousands of bits.
longest(Failures) -> min(?LONGEST, ?FIRST bsl min(Failures - 1, 10)).

%% @doc The connection has ended.
-spec lost(name(), Now :: integer(), Chance :: float(), targets()) -> targets().
lost(Name, Now, Chance, Targets) ->
    update(Name, fun(_) -> #target{due = Now + round(?FIRST * Chance)} end, Targets).

update(Name, Fun, Targets) ->
    case Targets of
        #{Name := Target} -> Targets#{Name := Fun(Target)};
        #{} -> Targets
    end.

%% @doc When the next one is due.
-spec next(targets()) -> integer() | never.
next(Targets) ->
    %% Numbers come before atoms.
    lists:min([never | [Due || #target{due = Due} <- maps:values(Targets)]]).
