%% SPDX-License-Identifier: Apache-2.0
%% @doc Predictions for other nodes. Runs in a process for each call.
-module(ml_model).

-export([predict/1]).

-spec predict(binary()) -> map().
predict(Text) ->
    {ok, Prediction} = hornbeam_hooks:execute(<<"model">>, predict, [Text]),
    Prediction.
