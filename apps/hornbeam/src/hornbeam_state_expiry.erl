%% SPDX-License-Identifier: Apache-2.0
%% @doc Removes rows of the shared state whose time is over.
%%
%% One process looks at the index of expiring rows, in the order of their time, once a second; no
%% row has a timer. Readers do not rely on it: they compare the time of a row themselves, so a dead
%% value is never seen. now/0, expires/1, index/2, unindex/2 and sweep/1 run in the process that
%% reads or writes.
%%
%% A row's time is in microseconds times 256; the lower bits tell apart rows of the same
%% microsecond, so that an entry of the index belongs to one row and no other.
-module(hornbeam_state_expiry).
-behaviour(gen_server).

-export([start_link/0]).
-export([now/0, is_ttl/1, expires/1, is_dead/2, index/2, unindex/2, sweep/1]).
-compile({no_auto_import, [now/0]}).

-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(INDEX, hornbeam_state_index).
%% Milliseconds between two looks at the index.
-define(PERIOD, 1000).
%% A hundred years, milliseconds.
-define(MAX_TTL, 3155760000000).
%% Rows removed before the process looks at its mailbox again.
-define(BATCH, 1000).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc The time against which that of rows is compared. Monotonic: a clock that is set changes
%% nothing.
-spec now() -> integer().
now() -> erlang:monotonic_time(microsecond) bsl 8.

%% @doc Whether it is a time to live, milliseconds: 1 to a hundred years.
-spec is_ttl(term()) -> boolean().
is_ttl(Ttl) -> is_integer(Ttl) andalso Ttl >= 1 andalso Ttl =< ?MAX_TTL.

%% @doc The time of a row that lives for so many milliseconds from now.
-spec expires(pos_integer()) -> hornbeam_state_row:expires().
expires(Milliseconds) ->
    Time = (erlang:monotonic_time(microsecond) + Milliseconds * 1000) bsl 8,
    Time bor (erlang:unique_integer([positive]) band 255).

-spec is_dead(hornbeam_state_row:expires(), Now :: integer()) -> boolean().
is_dead(0, _) -> false;
is_dead(Expires, Now) -> Expires =< Now.

%% @doc Have a row removed when its time is over. Called before the row is written, for the writer
%% may be killed, and afterwards, for the entry may have been swept before there was a row.
-spec index(hornbeam_state_row:expires(), hornbeam_state_row:stored()) -> true.
index(0, _) -> true;
index(Expires, Key) -> ets:insert(?INDEX, {{Expires, Key}}).

%% @doc The row with that time is gone.
-spec unindex(hornbeam_state_row:expires(), hornbeam_state_row:stored()) -> true.
unindex(0, _) -> true;
unindex(Expires, Key) -> ets:delete(?INDEX, {Expires, Key}).

%% @doc Remove rows whose time is over, Most at most; how many entries of the index were done with.
-spec sweep(Most :: non_neg_integer()) -> non_neg_integer().
sweep(Most) ->
    sweep(ets:first(?INDEX), now(), Most, 0).

sweep({Expires, Key} = Entry, Now, Most, Done) when Expires =< Now, Done < Most ->
    ok = hornbeam_state_table:remove(Key, Expires),
    true = ets:delete(?INDEX, Entry),
    sweep(ets:first(?INDEX), Now, Most, Done + 1);
sweep(_, _, _, Done) ->
    Done.

-spec init([]) -> {ok, []}.
init([]) ->
    _ = erlang:send_after(?PERIOD, self(), sweep),
    {ok, []}.

-spec handle_call(term(), gen_server:from(), []) -> {reply, {error, unknown_call}, []}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), []) -> {noreply, []}.
handle_info(sweep, State) ->
    Wait =
        case sweep(?BATCH) of
            ?BATCH -> 0;
            _ -> ?PERIOD
        end,
    _ = erlang:send_after(Wait, self(), sweep),
    {noreply, State};
handle_info(_Info, State) ->
    {noreply, State}.
