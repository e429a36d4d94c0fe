%% SPDX-License-Identifier: Apache-2.0
-module(hornbeam_worker_effects_tests).

-include_lib("eunit/include/eunit.hrl").

%% Whoever hands out pieces of many streams does so before they run, until a packet brings few.
priority_test() ->
    Pool = hornbeam_pool:new(?MODULE, #{size => 1, queue_limit => 0, queue_timeout => 1}),
    Before = process_flag(priority, normal),
    try
        lists:foreach(
            fun({Pieces, Expected}) ->
                Events = [{event, {self(), N}, N, {data, <<"x">>}} || N <- lists:seq(1, Pieces)],
                0 = hornbeam_worker_effects:carry_out(Events, 1, Pool),
                ?assertEqual({priority, Expected}, process_info(self(), priority)),
                [
                    receive
                        {{_, N}, {hornbeam, _, N, {data, _}}} -> ok
                    after 0 -> error({missing, N})
                    end
                 || N <- lists:seq(1, Pieces)
                ]
            end,
            [{31, normal}, {32, high}, {1000, high}, {31, normal}, {32, high}, {0, normal}]
        )
    after
        process_flag(priority, Before),
        hornbeam_pool:delete(?MODULE)
    end.
